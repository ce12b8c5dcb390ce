// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/job_main.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/supervise/link_wire.h"

namespace parley {

class JobLoop {
 public:
  explicit JobLoop(ConfinedWorker* worker)
      : worker_(*worker), buffer_(worker->channel().receiver.max_message_bytes()) {}

  absl::Status Run(const std::function<absl::Status(Job&)>& body) {
    while (true) {
      const absl::StatusOr<Record> record = worker_.ReceiveAny(absl::MakeSpan(buffer_));
      if (!record.ok()) return record.status();
      const auto message = absl::MakeConstSpan(buffer_).first(record->size_bytes);
      internal::JobWire wire;
      if (record->tag != internal::kJobTag || !ReadWire(message, &wire) ||
          message.size() != sizeof(wire) + wire.request_bytes) {
        return absl::InternalError("the host sent no job");
      }
      // The first one's is there already.
      if (wire.input_kind != internal::kSealedInput) {
        worker_.SetInput(wire.input_kind, wire.input_bytes, std::nullopt);
      }
      std::string request;
      for (const std::byte byte : message.subspan(sizeof(wire))) {
        request += static_cast<char>(byte);
      }
      Job job(&worker_, std::move(request));
      const absl::Status outcome = body(job);
      worker_.SetInput(internal::kNoInput, 0, std::nullopt);
      if (absl::Status sent = SendDone(wire.number, outcome); !sent.ok()) return sent;
    }
  }

 private:
  absl::Status SendDone(uint64_t number, const absl::Status& outcome) {
    Sender& sender = worker_.channel().sender;
    sender.DropReserved();
    if (sender.closed()) return absl::FailedPreconditionError("the job closed the worker's sender");
    const std::string_view text(outcome.message().data(), outcome.message().size());
    const std::size_t text_bytes =
        std::min({text.size(), sender.max_message_bytes() - sizeof(internal::JobDoneWire),
                  internal::kMaxFailureTextBytes});
    const internal::JobDoneWire done = {.number = number,
                                        .code = static_cast<uint32_t>(outcome.code()),
                                        .text_bytes = static_cast<uint32_t>(text_bytes)};
    std::vector<std::byte> message(sizeof(done) + text_bytes);
    const auto header = WireBytes(done);
    std::memcpy(message.data(), header.data(), header.size());
    if (text_bytes > 0) std::memcpy(message.data() + sizeof(done), text.data(), text_bytes);
    return sender.Send(internal::kJobDoneTag, message, Deadline::Never());
  }

  ConfinedWorker& worker_;
  std::vector<std::byte> buffer_;
};

int JobMain(const WorkerMainOptions& options, const std::function<absl::Status(Job&)>& body) {
  return WorkerMain(options,
                    [&body](ConfinedWorker& worker) { return JobLoop(&worker).Run(body); });
}

}  // namespace parley
