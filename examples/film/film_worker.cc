// The confined decoder. Started by the film viewer with a socket and the film as a sealed blob; it
// shakes hands, warms up, locks itself down, and only then looks at the film's first byte.
//
// After lock-down it decodes and sends, and can do nothing else: no files, no sockets, no programs.
// With a --hijack kind it turns hostile half-way (turncoat.h), to show what the viewer makes of it.

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/channel/channel.h"
#include "parley/examples/film/decoder.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/film_sender.h"
#include "parley/examples/film/turncoat.h"
#include "parley/examples/film/worker_arguments.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/hostile_input.h"
#include "parley/sandbox/inherited.h"
#include "parley/sandbox/profile.h"
#include "parley/sealing/sealed_blob.h"

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
absl::Status StreamFilm(const Confined& confined, HostileInput<SealedBlob>& film,
                        const WorkerArguments& arguments, FilmSender& film_sender, Sender& sender) {
  absl::StatusOr<std::unique_ptr<FilmDecoder>> decoder =
      FilmDecoder::Open(film.Open(confined).bytes());
  if (!decoder.ok()) return film_sender.SendFailed(std::string(decoder.status().message()));
  absl::Status status = film_sender.SendInfo((*decoder)->info());
  if (!status.ok()) return status;
  Turncoat turncoat(arguments.hijack, (*decoder)->info().duration_ns / 2, film_sender, sender);
  const absl::StatusOr<DecodeTotals> totals = (*decoder)->Run(turncoat);
  if (totals.ok()) return film_sender.SendEnd(*totals);
  if (turncoat.left()) return totals.status();
  return film_sender.SendFailed(std::string(totals.status().message()));
}

// Does not return once it is confined.
absl::Status Work(const WorkerArguments& arguments) {
  absl::StatusOr<UniqueFd> film_fd = TakeInheritedFd(kFilmVariable);
  if (!film_fd.ok()) return film_fd.status();
  absl::StatusOr<SealedBlob> blob =
      SealedBlob::Adopt(*std::move(film_fd), arguments.max_film_bytes);
  if (!blob.ok()) return blob.status();
  HostileInput<SealedBlob> film(*std::move(blob));

  ConnectOptions options;
  options.direction = Direction::kSendOnly;
  options.format = kFilmProtocol;
  options.limits = {.max_capacity_bytes = uint64_t{1} << 30, .max_message_bytes = 1u << 30};
  options.trust = PeerTrust::Because("the player that started this worker");
  absl::StatusOr<Channel> channel =
      ConnectInheritedChannel(options, Deadline::After(absl::Seconds(10)));
  if (!channel.ok()) return channel.status();
  WarmUpDecoder();

  const ChannelDescriptors descriptors = DescriptorsOf(*channel);
  Profile profile = Profile::Ring(descriptors.all).WithHeap().WithSanitizerIfBuiltIn();
  for (const int fd : descriptors.eventfds) profile = profile.WithEventfd(fd);
  absl::StatusOr<Confined> confined =
      LockDown(Prepared::After(film, *channel), profile, {.keep = descriptors.all});
  if (!confined.ok()) return confined.status();
  ChannelOut out(channel->sender);
  FilmSender film_sender(out, arguments.start);
  absl::Status streamed;
  try {
    streamed = StreamFilm(*confined, film, arguments, film_sender, channel->sender);
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
