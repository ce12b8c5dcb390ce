// SPDX-License-Identifier: Apache-2.0

// The confined half of parley-thumb: one file in, one small picture or a list of facts out. Started
// by parley_thumb alone, as a template that is warm and cloned for each file.

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/av/byte_source.h"
#include "parley/supervise/job_main.h"
#include "parley/thumb/make_thumbnail.h"
#include "parley/thumb/media_file.h"
#include "parley/thumb/request.h"
#include "parley/thumb/result_writer.h"
#include "parley/thumb/thumb_wire.h"

namespace parley::thumb {
namespace {

absl::Status Run(Job& job) {
  const absl::StatusOr<ThumbRequest> request = DecodeRequest(job.request());
  if (!request.ok()) return request.status();
  // The first look at hostile bytes.
  const absl::StatusOr<absl::Span<const std::byte>> bytes = job.input().Bytes();
  if (!bytes.ok()) return bytes.status();
  av::SpanSource source(*bytes);
  const absl::StatusOr<ThumbResult> result = MakeThumbnail(source, *request);
  if (!result.ok()) return result.status();
  return SendResult(
      *result, job.worker().channel().sender.max_message_bytes(),
      [&job](uint32_t tag, absl::Span<const std::byte> message) { return job.Send(tag, message); });
}

}  // namespace
}  // namespace parley::thumb

int main() {
  parley::WorkerMainOptions options;
  options.format = parley::thumb::kThumbProtocol;
  options.warm_up = [] {
    parley::thumb::WarmUpLibav();
    return absl::OkStatus();
  };
  return parley::JobMain(options, parley::thumb::Run);
}
