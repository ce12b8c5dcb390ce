// The confined decoder. Started by the film viewer with a socket and nothing else; it shakes hands,
// warms up, locks itself down, and only then asks for the film's first byte.
//
// After lock-down it decodes and sends, and can do nothing else: no files, no sockets, no programs.
// With a --hijack kind it turns hostile half-way (turncoat.h), to show what the viewer makes of it.

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "parley/channel/channel.h"
#include "parley/examples/film/decoder.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/film_sender.h"
#include "parley/examples/film/remote_source.h"
#include "parley/examples/film/second_look.h"
#include "parley/examples/film/turncoat.h"
#include "parley/examples/film/worker_arguments.h"
#include "parley/handshake/options.h"
#include "parley/media/acceptance.h"
#include "parley/media/pixel_format.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/hostile_input.h"
#include "parley/sandbox/profile.h"

namespace parley::film {
namespace {

// A viewer that pauses is no reason to give up; one that is gone is noticed at once.
constexpr absl::Duration kSendPatience = absl::Hours(24);

class ChannelOut final : public MessageOut {
 public:
  explicit ChannelOut(Sender& sender) : sender_(sender) {}
  uint32_t max_message_bytes() const override { return sender_.max_message_bytes(); }
  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes) override {
    return sender_.Reserve(size_bytes, Deadline::After(kSendPatience));
  }
  void Commit(uint32_t tag, uint32_t size_bytes) override { sender_.Commit(tag, size_bytes); }

 private:
  Sender& sender_;
};

// Takes the proof of confinement: there is no other way to the film's bytes.
absl::Status StreamFilm(const Confined& confined, HostileInput<RemoteSource>& film,
                        const Acceptance& acceptance, const WorkerArguments& arguments,
                        FilmSender& film_sender, Sender& sender) {
  absl::StatusOr<std::unique_ptr<FilmDecoder>> decoder =
      FilmDecoder::Open(film.Open(confined), acceptance);
  if (!decoder.ok()) return film_sender.SendFailed(std::string(decoder.status().message()));
  absl::Status status = film_sender.SendInfo((*decoder)->info());
  if (!status.ok()) return status;
  Turncoat turncoat(arguments.hijack, (*decoder)->info().duration_ns / 2, film_sender, sender);
  const absl::StatusOr<DecodeTotals> totals = (*decoder)->Run(turncoat);
  if (totals.ok()) return film_sender.SendEnd(*totals);
  if (turncoat.left()) return totals.status();
  return film_sender.SendFailed(std::string(totals.status().message()));
}

absl::Status LookAgain(const Confined& confined, HostileInput<RemoteSource>& film,
                       const Acceptance& acceptance, MessageOut& out) {
  const auto accepted = [&](std::string_view libav_name) {
    const PixelFormatInfo* info = PixelFormatFromLibav(libav_name);
    return info != nullptr && acceptance.Accepts(info->format);
  };
  return SecondLook(film.Open(confined), accepted, out);
}

// Does not return once it is confined.
absl::Status Work(const WorkerArguments& arguments) {
  ConnectOptions options;
  options.format = kFilmProtocol;
  options.limits = {.max_capacity_bytes = uint64_t{1} << 30, .max_message_bytes = 1u << 30};
  options.trust = PeerTrust::Because("the player that started this worker");
  const Deadline deadline = Deadline::After(absl::Seconds(10));
  absl::StatusOr<Channel> channel = ConnectInheritedChannel(options, deadline);
  // The player has the reason, and says it.
  if (absl::StartsWith(channel.status().message(), "the peer refused")) ::_exit(kExitRefused);
  if (!channel.ok()) return channel.status();
  RemoteSource source(*channel, arguments.film_bytes);
  const absl::StatusOr<Acceptance> acceptance = source.ReceiveAcceptance(deadline);
  if (!acceptance.ok()) return acceptance.status();
  HostileInput<RemoteSource> film(std::move(source));
  WarmUpDecoder();

  const ChannelDescriptors descriptors = DescriptorsOf(*channel);
  Profile profile = Profile::Ring(descriptors.all).WithHeap().WithSanitizerIfBuiltIn();
  for (const int fd : descriptors.eventfds) profile = profile.WithEventfd(fd);
  absl::StatusOr<Confined> confined =
      LockDown(Prepared::After(film, *channel), profile, {.keep = descriptors.all});
  if (!confined.ok()) return confined.status();
  ChannelOut out(channel->sender);
  FilmSender film_sender(out, arguments.start, *acceptance);
  absl::Status streamed;
  try {
    streamed = arguments.second_look ? LookAgain(*confined, film, *acceptance, out)
                                     : StreamFilm(*confined, film, *acceptance, arguments,
                                                  film_sender, channel->sender);
  } catch (const std::bad_alloc&) {
    streamed = film_sender.SendFailed("the decoder has not enough memory");
  }
  channel->sender.Close();
  // The viewer has gone, or has heard by now. Nothing can be printed here.
  ::_exit(streamed.ok() ? 0 : 1);
}

}  // namespace
}  // namespace parley::film

int main(int argc, char** argv) {
  using parley::film::WorkerArguments;
  absl::StatusOr<WorkerArguments> arguments =
      parley::film::Decode({argv + 1, static_cast<size_t>(argc - 1)});
  const absl::Status status = arguments.ok() ? parley::film::Work(*arguments) : arguments.status();
  // No destructors: nothing of a decoder that was perhaps hijacked should run for longer than it
  // has to, and the kernel gives everything back.
  if (status.ok()) ::_exit(0);
  // Work reports what happens after lock-down by the channel: this is about the time before.
  std::fprintf(stderr, "film_worker: %s\n", std::string(status.message()).c_str());
  ::_exit(parley::film::kExitSaidWhy);
}
