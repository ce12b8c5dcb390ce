// SPDX-License-Identifier: Apache-2.0

// Serves thousands of channels with one thread: each client has a coroutine, which sends back what
// comes, until it closes, is silent for a minute, or is hostile. Ends on Ctrl-C, or after CLIENTS.
//
//   server PATH [CLIENTS]

#include <sys/resource.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/wait_set/async_channel.h"
#include "parley/wait_set/event_loop.h"
#include "parley/wait_set/task.h"

namespace {

using parley::Deadline;

struct Counts {
  uint64_t clients = 0;
  uint64_t messages = 0;
  uint64_t in_order = 0;  // of the clients: those that closed
};

parley::Task<void> Serve(parley::EventLoop* loop, parley::Channel channel, Counts* counts) {
  auto ends = parley::AsyncChannel::Create(loop, std::move(channel));
  if (!ends.ok()) co_return;
  while (true) {
    const auto message = co_await ends->receiver.Next(Deadline::After(absl::Minutes(1)));
    if (absl::IsOutOfRange(message.status())) ++counts->in_order;
    if (!message.ok()) co_return;  // closed, silent, gone, or broke the protocol
    const absl::Status sent = co_await ends->sender.Send(message->tag, message->bytes,
                                                         Deadline::After(absl::Seconds(10)));
    if (!sent.ok()) co_return;
    ++counts->messages;
  }
}

parley::Task<void> Accept(parley::EventLoop* loop, parley::AsyncListener* listener,
                          uint64_t max_clients, Counts* counts) {
  while (counts->clients < max_clients) {
    auto channel = co_await listener->Accept(Deadline::After(absl::Hours(24)));
    if (absl::IsCancelled(channel.status())) co_return;  // the loop ends
    if (!channel.ok()) {
      // Out of descriptors or memory: those that are served may end meanwhile.
      std::cerr << "server: " << channel.status().message() << '\n';
      const absl::Status slept = co_await loop->Sleep(Deadline::After(absl::Milliseconds(100)));
      if (!slept.ok()) co_return;
      continue;
    }
    ++counts->clients;
    loop->Spawn(Serve(loop, *std::move(channel), counts));
  }
}

parley::WaitSet* interrupted_set = nullptr;

absl::Status Run(const std::string& path, uint64_t max_clients, Counts* counts) {
  parley::AcceptOptions options;
  options.send = options.receive = {4096, 64};  // small rings: there are thousands
  auto plain = parley::ChannelListener::Listen(path, options);
  if (!plain.ok()) return plain.status();
  auto loop = parley::EventLoop::Create();
  if (!loop.ok()) return loop.status();
  auto listener = parley::AsyncListener::Create(loop->get(), *std::move(plain));
  if (!listener.ok()) return listener.status();
  interrupted_set = &(*loop)->set();
  for (const int signal : {SIGINT, SIGTERM}) {
    std::signal(signal, [](int) { interrupted_set->Interrupt(); });
  }
  (*loop)->Spawn(Accept(loop->get(), &*listener, max_clients, counts));
  const auto ran = (*loop)->Run(Deadline::After(absl::Hours(24)));
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
  return ran == parley::WaitSet::Ran::kInterrupted ? absl::CancelledError("interrupted")
                                                   : absl::OkStatus();
}

// As many descriptors as we may have: a channel has four.
void AllowDescriptors() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::cerr << "usage: server PATH [CLIENTS]   sends back what its clients send\n";
    return 2;
  }
  AllowDescriptors();
  Counts counts;
  const uint64_t max_clients = argc == 3 ? std::strtoull(argv[2], nullptr, 10) : ~uint64_t{0};
  const absl::Status status = Run(argv[1], max_clients, &counts);
  std::cout << counts.clients << " clients, " << counts.in_order << " closed in order, "
            << counts.messages << " messages" << std::endl;
  if (status.ok()) return 0;
  std::cerr << "server: " << status.message() << '\n';
  return absl::IsCancelled(status) ? 130 : 1;
}
