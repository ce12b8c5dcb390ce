#include "parley/wait/doorbell.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "parley/os/errors.h"
#include "parley/ring/layout.h"
#include "parley/wait/futex.h"

namespace parley {
namespace {

constexpr int kMaxReceives = 8;
constexpr char kWakeUp = 1;

Doorbell::Drained DrainSocket(int socket) {
  auto result = Doorbell::Drained::kQuiet;
  for (int i = 0; i < kMaxReceives; ++i) {
    // Two bytes, to tell a wake-up from anything longer; no control buffer.
    std::array<char, 2> bytes;
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got == 1 && bytes[0] == kWakeUp) {
      result = Doorbell::Drained::kSignalled;
    } else if (got > 0) {
      return Doorbell::Drained::kUnexpected;
    } else if (got == 0 || errno == ECONNRESET) {
      // An empty message looks like the end, and is treated as one.
      return Doorbell::Drained::kPeerGone;
    } else {
      return result;  // EAGAIN: empty. EINTR or anything else: a later look will tell.
    }
  }
  return result;
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return ErrnoStatus(errno, "look at a received descriptor (is /proc mounted?)");
  std::string text(1024, '\0');
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got < 0) return ErrnoStatus(errno, "look at a received descriptor");
  text.resize(static_cast<std::size_t>(got));
  return text;
}

}  // namespace

Doorbell Doorbell::OfSocket(UniqueFd socket) {
  // The smallest queue: a few wake-ups, which one Drain empties. With the system's default, rings
  // for sleeps that did not take place pile up, and an honest peer looks like a flood when they are
  // drained eight at a time. Each end limits what it sends. If it is refused, that is all.
  const int min_bytes = 1;
  static_cast<void>(
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &min_bytes, sizeof(min_bytes)));
  return Doorbell(Kind::kSocket, std::move(socket), UniqueFd());
}

Doorbell Doorbell::OfEventfds(UniqueFd wait, UniqueFd ring) {
  return Doorbell(Kind::kEventfd, std::move(wait), std::move(ring));
}

Doorbell Doorbell::OfSendersFutex(OwnMemory own_control, PeerMemory peer_control) {
  return Doorbell(FutexWords{own_control, peer_control, kDataSignalsOffset, kSpaceSignalsOffset});
}

Doorbell Doorbell::OfReceiversFutex(OwnMemory own_control, PeerMemory peer_control) {
  return Doorbell(FutexWords{own_control, peer_control, kSpaceSignalsOffset, kDataSignalsOffset});
}

void Doorbell::Signal() {
  // Failure is never ours to handle: EAGAIN means that wake-ups are waiting there already, anything
  // else that nobody is left to be woken, which the waits find out.
  switch (kind_) {
    case Kind::kSocket:
      static_cast<void>(::send(wait_.get(), &kWakeUp, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
      return;
    case Kind::kEventfd: {
      const uint64_t one = 1;
      static_cast<void>(!::write(ring_.get(), &one, sizeof(one)));
      return;
    }
    case Kind::kFutex:
      // PAIRS WITH: SignalsSeen of the peer; and the kernel looks at it before it lets one sleep.
      words_.own.StoreRelease64(words_.ours, ++rings_);
      Futex::WakeOne(words_.own, words_.ours);
      return;
  }
}

uint32_t Doorbell::SignalsSeen() const {
  if (!is_futex()) return 0;
  // PAIRS WITH: Ring of the peer: what it rang for is seen by the look that follows this.
  // TRUST: only compared for equality, by the kernel; a lie costs a wake-up, or a sleep's limit.
  return static_cast<uint32_t>(words_.peer.LoadAcquire64(words_.theirs).AnyValueIsAcceptable());
}

bool Doorbell::Sleep(uint32_t heard, Deadline deadline) const {
  switch (Futex::SleepWhile(words_.peer, words_.theirs, heard, deadline.monotonic_ns())) {
    case Futex::Slept::kWoken:
    case Futex::Slept::kChanged:
      return true;
    case Futex::Slept::kTimedOut:
    case Futex::Slept::kFailed:
      break;
  }
  return false;
}

Doorbell::Drained Doorbell::Drain() const {
  if (is_socket()) return DrainSocket(wait_.get());
  if (is_futex()) return Drained::kQuiet;
  uint64_t count = 0;
  iovec into = {&count, sizeof(count)};
  // RWF_NOWAIT, because the peer can clear O_NONBLOCK between a poll and a read.
  const ssize_t got = ::preadv2(wait_.get(), &into, 1, -1, RWF_NOWAIT);
  return got == sizeof(count) ? Drained::kSignalled : Drained::kQuiet;
}

absl::StatusOr<UniqueFd> CreateEventfd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.ok()) return ErrnoStatus(errno, "create an eventfd");
  return fd;
}

absl::Status VerifyEventfd(int fd) {
  const std::string number = std::to_string(fd);
  std::array<char, 64> name;
  const ssize_t length = ::readlink(("/proc/self/fd/" + number).c_str(), name.data(), name.size());
  if (length < 0) return ErrnoStatus(errno, "look at a received descriptor (is /proc mounted?)");
  if (std::string_view(name.data(), static_cast<std::size_t>(length)) != "anon_inode:[eventfd]") {
    return absl::InvalidArgumentError("the doorbell that was received is no eventfd");
  }
  const auto info = ReadSmallFile("/proc/self/fdinfo/" + number);
  if (!info.ok()) return info.status();
  if (info->find("eventfd-semaphore: 1") != std::string::npos) {
    return absl::InvalidArgumentError("the doorbell that was received is a semaphore");
  }
  return absl::OkStatus();
}

}  // namespace parley
