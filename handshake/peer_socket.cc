// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/peer_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "parley/os/check.h"
#include "parley/os/connected_socket.h"
#include "parley/os/disposal.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"

namespace parley {
namespace {

constexpr std::size_t kMaxDescriptors = 8;
constexpr std::size_t kMaxInOneMessage = 253;  // SCM_MAX_FD

absl::Status CheckSocketOption(int fd, int option, int expected, const char* what) {
  int value = 0;
  socklen_t length = sizeof(value);
  if (::getsockopt(fd, SOL_SOCKET, option, &value, &length) != 0) {
    return absl::InvalidArgumentError("not a socket");
  }
  if (value != expected) return absl::InvalidArgumentError(what);
  return absl::OkStatus();
}

// Takes every descriptor out of the control messages, so that each is closed on every path.
// False if anything else, or a damaged length, is among them.
bool TakeDescriptors(msghdr* message, std::vector<UniqueFd>* descriptors) {
  bool clean = true;
  for (cmsghdr* c = CMSG_FIRSTHDR(message); c != nullptr; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0)) {
      clean = false;
      continue;
    }
    // The count comes from the kernel's cmsg_len alone, never from the message's text.
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      descriptors->emplace_back(number);
    }
  }
  return clean;
}

absl::Status PeerGone() { return absl::UnavailableError("the peer closed the connection"); }

// recvmsg until it is done, or there is nothing: nullopt.
absl::StatusOr<std::optional<std::size_t>> ReceiveOnce(int fd, msghdr* message, int flags) {
  ssize_t got = 0;
  int resets = 0;
  do {
    got = ::recvmsg(fd, message, MSG_DONTWAIT | flags);
    // A reset is told once, ahead of what was queued before it: a refusal and its reason.
  } while (got < 0 && (errno == EINTR || (errno == ECONNRESET && ++resets == 1)));
  if (got < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    if (errno == ECONNRESET) return PeerGone();
    return ErrnoStatus(errno, "receive from the peer");
  }
  return static_cast<std::size_t>(got);
}

}  // namespace

DescriptorGuard& DescriptorGuard::operator=(DescriptorGuard&& other) noexcept {
  if (this != &other) {
    DisposeOf(std::move(descriptors_));
    descriptors_ = std::move(other.descriptors_);
    other.descriptors_.clear();
  }
  return *this;
}

DescriptorGuard::~DescriptorGuard() { DisposeOf(std::move(descriptors_)); }

PeerSocket& PeerSocket::operator=(PeerSocket&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::move(other.fd_);
    origin_ = other.origin_;
    unused_ = other.unused_;
  }
  return *this;
}

void PeerSocket::Close() {
  if (unused_) {
    fd_.Release().Reset();
  } else {
    fd_.Reset();
  }
}

absl::StatusOr<PeerSocket> PeerSocket::Adopt(UniqueFd fd, Origin origin) {
  absl::Status status = CheckSocketOption(fd.get(), SO_DOMAIN, AF_UNIX, "not an AF_UNIX socket");
  if (!status.ok()) return status;
  status = CheckSocketOption(fd.get(), SO_TYPE, SOCK_SEQPACKET, "not a SOCK_SEQPACKET socket");
  if (!status.ok()) return status;
  status = CheckSocketOption(fd.get(), SO_ACCEPTCONN, 0, "a listening socket, not a connected one");
  if (!status.ok()) return status;
  sockaddr_un peer = {};
  socklen_t length = sizeof(peer);
  // SAFETY: the sockets API takes every address family through this type.
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &length) != 0) {
    return absl::InvalidArgumentError("a socket that is not connected");
  }
  if (::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return ErrnoStatus(errno, "make a socket close-on-exec");
  }
  return PeerSocket(std::move(fd), origin);
}

absl::StatusOr<std::pair<PeerSocket, PeerSocket>> PeerSocket::Pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return ErrnoStatus(errno, "create a pair of sockets");
  }
  PeerSocket first(UniqueFd(fds[0]), Origin::kGiven);
  PeerSocket second(UniqueFd(fds[1]), Origin::kGiven);
  // Nobody has the other end yet.
  RefuseRights(first.fd());
  second.unused_ = true;
  return std::make_pair(std::move(first), std::move(second));
}

absl::StatusOr<PeerSocket> PeerSocket::Inherited(const char* variable) {
  const char* text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): set-up, by contract
  if (text == nullptr) {
    return absl::FailedPreconditionError(
        std::string("no inherited socket: the environment variable ") + variable +
        " is not set. This program is meant to be started by its supervisor.");
  }
  int number = -1;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, number);
  if (error != std::errc() || rest != end || number < 0) {
    return absl::InvalidArgumentError(std::string("the environment variable ") + variable +
                                      " holds no descriptor number");
  }
  ::unsetenv(variable);  // NOLINT(concurrency-mt-unsafe): set-up, by contract
  return Adopt(UniqueFd(number), Origin::kInherited);
}

absl::Status PeerSocket::Send(absl::Span<const std::byte> message,
                              absl::Span<const int> descriptors) const {
  PARLEY_CHECK(!message.empty(), "an empty message looks like the end of the session");
  PARLEY_CHECK(descriptors.size() <= kMaxDescriptors, "too many descriptors in one message");
  // SAFETY: sendmsg does not write through iov_base.
  iovec data = {const_cast<std::byte*>(message.data()), message.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptors)> control = {};
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    std::memcpy(CMSG_DATA(c), descriptors.data(), sizeof(int) * descriptors.size());
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return absl::OkStatus();
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    return absl::ResourceExhaustedError("the peer does not read its socket");
  }
  if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) return PeerGone();
  return ErrnoStatus(errno, "send to the peer");
}

namespace {

absl::Status DescriptorsWhereNoneBelong() {
  return absl::InvalidArgumentError("the peer attached descriptors where none belong");
}

}  // namespace

absl::StatusOr<std::optional<std::size_t>> PeerSocket::TryReceive(
    absl::Span<std::byte> into) const {
  // Taking it out of the queue would release its files here.
  if (!RefusesRights(fd_.get()) && PeekNext(fd_.get()) == NextMessage::kWithDescriptors) {
    return DescriptorsWhereNoneBelong();
  }
  iovec data = {into.data(), into.size()};
  msghdr header = {};  // no control buffer: nothing can be installed
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  auto got = ReceiveOnce(fd_.get(), &header, 0);
  if (!got.ok() || !*got) return got;
  if ((header.msg_flags & MSG_CTRUNC) != 0) return DescriptorsWhereNoneBelong();
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    return absl::InvalidArgumentError("the peer's message is longer than any of the protocol");
  }
  // An empty message and the end of the session look the same, and mean the same to us.
  if (**got == 0) return PeerGone();
  return got;
}

absl::StatusOr<std::size_t> PeerSocket::Receive(absl::Span<std::byte> into,
                                                Deadline deadline) const {
  while (true) {
    auto got = TryReceive(into);
    if (!got.ok()) return got.status();
    if (*got) return **got;
    pollfd entry = {fd_.get(), POLLIN, 0};
    auto ready = PollUntil(absl::MakeSpan(&entry, 1), deadline);
    if (!ready.ok()) return ready.status();
    if (*ready == 0) return absl::DeadlineExceededError("the peer did not answer in time");
  }
}

// 1. Peeks, with room for as many descriptors as the kernel lets one send: the message stays in the
//    queue, so nothing is released, whatever is wrong with it.
// 2. Takes the message, if it is as agreed: what the peeked copies guard is not released either.
absl::StatusOr<PeerSocket::WithDescriptors> PeerSocket::ReceiveWithDescriptors(
    absl::Span<std::byte> into, std::size_t max_descriptors, Deadline deadline) const {
  PARLEY_CHECK(max_descriptors <= kMaxDescriptors, "too many descriptors in one message");
  iovec data = {into.data(), into.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxInOneMessage)> control;
  while (true) {
    msghdr header = {};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    auto got = ReceiveOnce(fd_.get(), &header, MSG_CMSG_CLOEXEC | MSG_PEEK);
    if (!got.ok()) return got.status();
    if (!*got) {
      pollfd entry = {fd_.get(), POLLIN, 0};
      auto ready = PollUntil(absl::MakeSpan(&entry, 1), deadline);
      if (!ready.ok()) return ready.status();
      if (*ready == 0) return absl::DeadlineExceededError("the peer did not answer in time");
      continue;
    }
    std::vector<UniqueFd> peeked;
    const bool clean = TakeDescriptors(&header, &peeked);
    WithDescriptors result;
    result.guard = DescriptorGuard(std::move(peeked));
    if (!clean || (header.msg_flags & MSG_CTRUNC) != 0 || result.guard.size() > max_descriptors) {
      return absl::InvalidArgumentError(
          "the peer attached other descriptors than agreed (or this process is at its limit, "
          "ulimit -n)");
    }
    if ((header.msg_flags & MSG_TRUNC) != 0) {
      return absl::InvalidArgumentError("the peer's message is longer than any of the protocol");
    }
    if (**got == 0) return PeerGone();

    header = {};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    if (result.guard.size() > 0) {
      header.msg_control = control.data();
      // CMSG_LEN and not CMSG_SPACE: the padding has room for one more on 64 bits.
      header.msg_controllen = CMSG_LEN(sizeof(int) * result.guard.size());
    }
    got = ReceiveOnce(fd_.get(), &header, MSG_CMSG_CLOEXEC);
    if (!got.ok()) return got.status();
    if (!*got || !TakeDescriptors(&header, &result.descriptors) ||
        (header.msg_flags & MSG_CTRUNC) != 0 || result.descriptors.size() != result.guard.size()) {
      return absl::ResourceExhaustedError(
          "no room for the peer's descriptors: raise the limit on open files (ulimit -n)");
    }
    result.size_bytes = **got;
    return result;
  }
}

void PeerSocket::AllowDescriptors() const { AllowRights(fd_.get()); }

bool PeerSocket::RefuseDescriptors() const {
  if (RefusesRights(fd_.get())) return true;
  if (!RefuseRights(fd_.get())) return false;
  // From here on nothing with descriptors comes in. Off proves that there is none, so it stays on
  // as long as something is queued.
  const NextMessage next = PeekNext(fd_.get());
  if (next == NextMessage::kNone) return true;
  AllowRights(fd_.get());
  return false;
}

void PeerSocket::StopReceiving() const { parley::StopReceiving(fd_.get()); }

void PeerSocket::HangUp() const { static_cast<void>(::shutdown(fd_.get(), SHUT_RDWR)); }

}  // namespace parley
