// SPDX-License-Identifier: Apache-2.0

// Two people, two terminals, one channel: lines typed on either side appear on the other.
//
//   chat PATH [PATIENCE_SECONDS]
//
// The first one to come listens on the socket PATH, the second one connects. Ctrl-D ends what you
// say, Ctrl-C ends all.

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/channel/channel.h"
#include "parley/examples/duplex_chat/conversation.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"

namespace parley {
namespace {

// Ctrl-C and friends become a descriptor to poll, so that every way out of main cleans up.
absl::StatusOr<UniqueFd> SignalsAsDescriptor() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&set, signal);
  // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return ErrnoStatus(errno, "block signals");
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.ok()) return ErrnoStatus(errno, "create a signal descriptor");
  return fd;
}

bool IsReadable(int fd) {
  pollfd entry = {fd, POLLIN, 0};
  const auto ready = PollUntil(absl::MakeSpan(&entry, 1), Deadline::AtMonotonicNs(0));
  return ready.ok() && *ready != 0;
}

absl::StatusOr<Channel> ListenFor(const std::string& path, int stop_fd) {
  auto listener = ChannelListener::Listen(path, {});
  if (!listener.ok()) return listener.status();
  std::cerr << "* waiting for somebody to run: chat " << path << std::endl;
  while (true) {
    auto channel = listener->Accept(Deadline::After(absl::Milliseconds(200)));
    if (channel.ok() || !absl::IsDeadlineExceeded(channel.status())) return channel;
    if (IsReadable(stop_fd)) return absl::CancelledError("interrupted");
  }
}

bool NobodyListens(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsUnavailable(status);
}

absl::Status Chat(const std::string& path, absl::Duration patience) {
  const Deadline deadline = Deadline::After(absl::Seconds(10));
  auto channel = ConnectChannel(path, {}, deadline);
  // From here on there is something to clean up, so signals must not end us on the spot.
  const auto signals = SignalsAsDescriptor();
  if (!signals.ok()) return signals.status();
  // Whoever comes first listens; two who come at once each try both again.
  while (NobodyListens(channel.status())) {
    channel = ListenFor(path, signals->get());
    if (!absl::IsAlreadyExists(channel.status()) || deadline.Expired()) break;
    channel = ConnectChannel(path, {}, deadline);
  }
  if (!channel.ok()) return channel.status();

  std::cerr << "* connected" << std::endl;
  ConversationOptions options;
  options.stop_fd = signals->get();
  options.patience = patience;
  return Conversation(*std::move(channel), options).Run();
}

std::optional<absl::Duration> ParseSeconds(const char* text) {
  char* end = nullptr;
  const double seconds = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(seconds > 0 && seconds <= 86400)) return std::nullopt;
  return absl::Seconds(seconds);
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  const auto patience = parley::ParseSeconds(argc == 3 ? argv[2] : "30");
  if (argc < 2 || argc > 3 || !patience) {
    std::cerr << "usage: chat PATH [PATIENCE_SECONDS]\n"
                 "Exchanges lines with whoever else runs it on the socket PATH. It ends when the\n"
                 "other side reads nothing for PATIENCE_SECONDS (default 30).\n";
    return 2;
  }
  const absl::Status status = parley::Chat(argv[1], *patience);
  if (status.ok()) return 0;
  std::cerr << "chat: " << status.message() << '\n';
  return absl::IsCancelled(status) ? 130 : 1;
}
