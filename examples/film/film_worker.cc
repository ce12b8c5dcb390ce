// SPDX-License-Identifier: Apache-2.0

// The confined decoder. Started by the film viewer with a socket and nothing else; it is locked
// down, and verified by the viewer, before it asks for the film's first byte.
//
// After lock-down it decodes and sends, and can do nothing else: no files, no sockets, no programs.
// With a --hijack kind it turns hostile half-way (turncoat.h), to show what the viewer makes of it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/av/decoder.h"
#include "parley/channel/channel.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/film_sender.h"
#include "parley/examples/film/remote_source.h"
#include "parley/examples/film/second_look.h"
#include "parley/examples/film/turncoat.h"
#include "parley/examples/film/worker_arguments.h"
#include "parley/frames/frame_sender.h"
#include "parley/media/acceptance.h"
#include "parley/media/frame.h"
#include "parley/media/pixel_format.h"
#include "parley/sandbox/profile.h"
#include "parley/supervise/worker_main.h"

namespace parley::film {
namespace {

class WorkerOut final : public MessageOut {
 public:
  explicit WorkerOut(ConfinedWorker& worker) : worker_(worker) {}
  uint32_t max_message_bytes() const override {
    return worker_.channel().sender.max_message_bytes();
  }
  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes) override {
    return worker_.Reserve(size_bytes);
  }
  void Commit(uint32_t tag, uint32_t size_bytes) override { worker_.Commit(tag, size_bytes); }

 private:
  ConfinedWorker& worker_;
};

absl::Status StreamFilm(RemoteSource& film, const Acceptance& acceptance,
                        const WorkerArguments& arguments, FilmSender& film_sender, Sender& sender,
                        FrameSender* arena) {
  absl::StatusOr<std::unique_ptr<av::FilmDecoder>> decoder =
      av::FilmDecoder::Open(film, acceptance, {&sender, arena});
  if (!decoder.ok()) return film_sender.SendFailed(std::string(decoder.status().message()));
  absl::Status status = film_sender.SendInfo((*decoder)->info());
  if (!status.ok()) return status;
  Turncoat turncoat(arguments.hijack, (*decoder)->info().duration_ns / 2, film_sender, sender);
  const absl::StatusOr<av::DecodeTotals> totals = (*decoder)->Run(turncoat);
  if (totals.ok()) return film_sender.SendEnd(*totals);
  if (turncoat.left()) return absl::OkStatus();  // without an end record
  return film_sender.SendFailed(std::string(totals.status().message()));
}

absl::Status LookAgain(RemoteSource& film, const Acceptance& acceptance, MessageOut& out) {
  const auto accepted = [&](std::string_view libav_name) {
    const PixelFormatInfo* info = PixelFormatFromLibav(libav_name);
    return info != nullptr && acceptance.Accepts(info->format);
  };
  return SecondLook(film, accepted, out);
}

absl::Status Work(ConfinedWorker& worker, const WorkerArguments& arguments) {
  std::vector<std::byte> message(worker.channel().receiver.max_message_bytes());
  const absl::StatusOr<Record> first = worker.Receive(absl::MakeSpan(message));
  if (!first.ok()) return first.status();
  if (first->tag != kTagAccepts) return absl::InternalError("the viewer says something else");
  const absl::StatusOr<Acceptance> acceptance =
      ParseAcceptance(absl::MakeConstSpan(message).first(first->size_bytes));
  if (!acceptance.ok()) return acceptance.status();
  RemoteSource film(worker.input());
  WorkerOut out(worker);
  std::optional<FrameSender> arena;
  if (!arguments.second_look) {
    absl::StatusOr<FrameSender> sender =
        FrameSender::Create(worker.channel(), {.metadata_bytes = kFrameHeaderBytes});
    if (!sender.ok()) return sender.status();
    arena = *std::move(sender);
  }
  FrameSender* const frames = arena.has_value() ? &*arena : nullptr;
  FilmSender film_sender(out, arguments.start, *acceptance, frames);
  try {
    return arguments.second_look ? LookAgain(film, *acceptance, out)
                                 : StreamFilm(film, *acceptance, arguments, film_sender,
                                              worker.channel().sender, frames);
  } catch (const std::bad_alloc&) {
    return film_sender.SendFailed("the decoder has not enough memory");
  }
}

}  // namespace
}  // namespace parley::film

int main(int argc, char** argv) {
  const auto arguments = parley::film::Decode({argv + 1, static_cast<size_t>(argc - 1)});
  parley::WorkerMainOptions options;
  options.format = parley::film::kFilmProtocol;
  options.warm_up = [&arguments] {
    parley::av::WarmUpDecoder();
    return arguments.status();
  };
  // Without soft answers for files: an attempt to open one is named.
  options.profile = [](const parley::Profile& channel) {
    return channel.WithHeap().WithSanitizerIfBuiltIn();
  };
  return parley::WorkerMain(options, [&arguments](parley::ConfinedWorker& worker) {
    return parley::film::Work(worker, *arguments);
  });
}
