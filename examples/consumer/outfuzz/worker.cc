#include "outfuzz/worker.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "outfuzz/protocol.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/hostile_input.h"
#include "parley/sandbox/profile.h"

namespace outfuzz {
namespace {

// A supervisor that is busy is no reason to give up; one that is gone is noticed at once.
constexpr absl::Duration kPatience = absl::Hours(24);

void RunOn(absl::Span<const std::byte> input, const WorkerTarget& target,
           parley::Channel& channel) {
  const auto exact = std::make_unique<uint8_t[]>(input.size());
  if (!input.empty()) std::memcpy(exact.get(), input.data(), input.size());
  target({exact.get(), input.size()}, channel);
}

// Takes the proof of confinement: there is no other way to the inputs.
absl::Status Serve(const parley::Confined& confined,
                   parley::HostileInput<parley::Receiver*>& inputs, absl::Span<std::byte> buffer,
                   const WorkerTarget& target, parley::Channel& channel) {
  while (true) {
    const auto message = inputs.Open(confined)->Receive(buffer, parley::Deadline::After(kPatience));
    if (!message.ok()) return message.status();
    if (message->tag != kInputTag || message->size_bytes < kNumberBytes) {
      return absl::InternalError("no input");
    }
    std::vector<std::byte> number(buffer.begin(), buffer.begin() + kNumberBytes);
    RunOn(buffer.subspan(kNumberBytes, message->size_bytes - kNumberBytes), target, channel);
    const absl::Status sent =
        channel.sender.Send(kRanTag, number, parley::Deadline::After(kPatience));
    if (!sent.ok()) return sent;
  }
}

absl::Status Work(const WorkerTarget& target) {
  parley::ConnectOptions options;
  options.trust = parley::PeerTrust::Because("the fuzzer that started this worker");
  auto channel =
      parley::ConnectInheritedChannel(options, parley::Deadline::After(absl::Seconds(20)));
  if (!channel.ok()) return channel.status();
  std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
  parley::HostileInput<parley::Receiver*> inputs(&channel->receiver);

  const parley::ChannelDescriptors descriptors = parley::DescriptorsOf(*channel);
  parley::Profile profile =
      parley::Profile::Ring(descriptors.all).WithHeap().WithSanitizerIfBuiltIn();
  for (const int fd : descriptors.eventfds) profile = profile.WithEventfd(fd);
  const auto confined = parley::LockDown(parley::Prepared::After(*channel, buffer), profile,
                                         {.keep = descriptors.all});
  if (!confined.ok()) return confined.status();
  absl::Status status =
      channel->sender.Send(kReadyTag, {}, parley::Deadline::After(absl::Seconds(20)));
  if (status.ok()) {
    status = Serve(*confined, inputs, absl::MakeSpan(buffer), target, *channel);
  }
  // Nothing can be printed here, and no destructor should run on a heap that an input has touched.
  ::_exit(absl::IsOutOfRange(status) || absl::IsUnavailable(status) ? 0 : 1);
}

}  // namespace

int RunWorker(const WorkerTarget& target) {
  const absl::Status status = Work(target);
  std::fprintf(stderr, "outfuzz worker: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace outfuzz
