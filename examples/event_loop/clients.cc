// SPDX-License-Identifier: Apache-2.0

// Many clients of the server beside this, in one process and one thread: each connects, sends some
// messages, and expects each back.
//
//   clients PATH CLIENTS MESSAGES

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/wait_set/async_channel.h"
#include "parley/wait_set/event_loop.h"
#include "parley/wait_set/task.h"

namespace {

using parley::Deadline;

Deadline Limit() { return Deadline::After(absl::Seconds(30)); }

parley::Task<absl::Status> AskOnce(parley::AsyncChannel* channel, uint64_t number) {
  std::array<std::byte, sizeof(number)> request;
  std::memcpy(request.data(), &number, sizeof(number));
  const absl::Status sent = co_await channel->sender.Send(1, request, Limit());
  if (!sent.ok()) co_return sent;
  const absl::StatusOr<parley::Message> answer = co_await channel->receiver.Next(Limit());
  if (!answer.ok()) co_return answer.status();
  if (!std::equal(request.begin(), request.end(), answer->bytes.begin(), answer->bytes.end())) {
    co_return absl::DataLossError("another answer than it was asked for");
  }
  co_return absl::OkStatus();
}

parley::Task<void> Ask(parley::EventLoop* loop, parley::Channel plain, uint64_t messages,
                       uint64_t* answered, absl::Status* first_error) {
  auto channel = parley::AsyncChannel::Create(loop, std::move(plain));
  absl::Status status = channel.status();
  for (uint64_t i = 0; status.ok() && i < messages; ++i) {
    status = co_await AskOnce(&*channel, i);
    if (status.ok()) ++*answered;
  }
  if (first_error->ok()) *first_error = status;
  if (channel.ok()) channel->sender.plain().Close();
}

absl::Status Run(const std::string& path, uint64_t clients, uint64_t messages) {
  auto loop = parley::EventLoop::Create();
  if (!loop.ok()) return loop.status();
  uint64_t answered = 0;
  absl::Status status;
  for (uint64_t i = 0; i < clients; ++i) {
    auto channel = parley::ConnectChannel(path, {}, Limit());
    if (!channel.ok()) return channel.status();
    (*loop)->Spawn(Ask(loop->get(), *std::move(channel), messages, &answered, &status));
  }
  (*loop)->Run(Limit());
  std::cout << answered << " answers" << std::endl;
  if (status.ok() && answered != clients * messages) {
    return absl::DeadlineExceededError("not all were answered in time");
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: clients PATH CLIENTS MESSAGES\n";
    return 2;
  }
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  const absl::Status status =
      Run(argv[1], std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10));
  if (status.ok()) return 0;
  std::cerr << "clients: " << status.message() << '\n';
  return 1;
}
