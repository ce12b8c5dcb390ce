// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/transports/descriptors.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "parley/os/errors.h"

namespace parley::bench {
namespace {

constexpr int kBufferBytes = 4 << 20;  // asked for; the system's limits cut it
constexpr int kPipeBytes = 1 << 20;    // the most for a process without privileges
constexpr std::size_t kMaxDatagram = 65'507;

absl::Status SetNonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return ErrnoStatus(errno, "make a descriptor non-blocking");
  }
  return absl::OkStatus();
}

void AskForBuffers(int fd) {
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kBufferBytes, sizeof(kBufferBytes));
  ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kBufferBytes, sizeof(kBufferBytes));
}

bool IsRetry(int error) { return error == EAGAIN || error == EINTR || error == ENOBUFS; }

absl::StatusOr<std::pair<UniqueFd, UniqueFd>> UnixPair(int type) {
  std::array<int, 2> fds = {-1, -1};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds.data()) != 0) {
    return ErrnoStatus(errno, "make a pair of sockets");
  }
  for (const int fd : fds) AskForBuffers(fd);
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

sockaddr_in Loopback() {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// SAFETY: the sockets API takes addresses through sockaddr*.
const sockaddr* Generic(const sockaddr_in* address) {
  return reinterpret_cast<const sockaddr*>(address);  // SAFETY: as above
}

absl::Status BindToLoopback(int fd, sockaddr_in* bound) {
  *bound = Loopback();
  socklen_t length = sizeof(*bound);
  // SAFETY: the sockets API takes addresses through sockaddr*.
  if (::bind(fd, Generic(bound), length) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(bound), &length) != 0) {
    return ErrnoStatus(errno, "bind to loopback");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::pair<UniqueFd, UniqueFd>> TcpPair() {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.ok() || !client.ok()) return ErrnoStatus(errno, "make a TCP socket");
  AskForBuffers(listener.get());
  AskForBuffers(client.get());
  sockaddr_in address;
  if (absl::Status status = BindToLoopback(listener.get(), &address); !status.ok()) return status;
  if (::listen(listener.get(), 1) != 0 ||
      ::connect(client.get(), Generic(&address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, "connect over loopback");
  }
  UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!server.ok()) return ErrnoStatus(errno, "accept over loopback");
  const int on = 1;
  for (const int fd : {client.get(), server.get()}) {
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  return std::pair(std::move(client), std::move(server));
}

absl::StatusOr<std::pair<UniqueFd, UniqueFd>> Pipe() {
  std::array<int, 2> fds = {-1, -1};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return ErrnoStatus(errno, "make a pipe");
  ::fcntl(fds[1], F_SETPIPE_SZ, kPipeBytes);
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

long MessageQueueLimit(const char* name) {
  std::ifstream file(std::string("/proc/sys/fs/mqueue/") + name);
  long value = 0;
  file >> value;
  return value;
}

}  // namespace

std::string SeqpacketRefuses(std::size_t size_bytes) {
  auto pair = UnixPair(SOCK_SEQPACKET);
  if (!pair.ok()) return pair.status().ToString();
  const std::vector<std::byte> message(size_bytes);
  if (::send(pair->first.get(), message.data(), message.size(), MSG_DONTWAIT) >= 0) return "";
  return std::string("a message of this length: ") + std::generic_category().message(errno);
}

std::string UdpRefuses(std::size_t size_bytes) {
  return size_bytes <= kMaxDatagram ? "" : "a datagram has at most 65507 bytes";
}

std::string MessageQueueRefuses(std::size_t size_bytes) {
  const long longest = MessageQueueLimit("msgsize_max");
  if (size_bytes <= static_cast<std::size_t>(longest)) return "";
  return "fs.mqueue.msgsize_max is " + std::to_string(longest);
}

absl::StatusOr<std::unique_ptr<ByteChannel>> ByteChannel::Create(const Cell& cell, Kind kind,
                                                                 Waiting waiting) {
  auto channel = std::make_unique<ByteChannel>(cell.size_bytes);
  auto& ends = channel->ends_;
  if (kind == Kind::kPipe) {
    auto there = Pipe();
    auto back = Pipe();
    if (!there.ok()) return there.status();
    if (!back.ok()) return back.status();
    ends[0] = {std::move(back->first), std::move(there->second)};
    ends[1] = {std::move(there->first), std::move(back->second)};
  } else {
    auto pair = kind == Kind::kTcp          ? TcpPair()
                : kind == Kind::kUnixStream ? UnixPair(SOCK_STREAM)
                                            : UnixPair(SOCK_SEQPACKET);
    if (!pair.ok()) return pair.status();
    ends[0].in = std::move(pair->first);
    ends[1].in = std::move(pair->second);
  }
  if (waiting == Waiting::kSpin) {
    for (const End& end : ends) {
      for (const UniqueFd* fd : {&end.in, &end.out}) {
        if (!fd->ok()) continue;
        if (absl::Status status = SetNonblocking(fd->get()); !status.ok()) return status;
      }
    }
  }
  return channel;
}

absl::Status ByteChannel::Open(Side side) {
  End& mine = ends_[static_cast<std::size_t>(side)];
  ends_[1 - static_cast<std::size_t>(side)] = End();
  in_ = mine.in.get();
  out_ = mine.out.ok() ? mine.out.get() : mine.in.get();
  return absl::OkStatus();
}

bool ByteChannel::WriteAll(std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t wrote = ::write(out_, buffer_.data() + done, bytes - done);
    if (wrote >= 0) {
      done += static_cast<std::size_t>(wrote);
    } else if (!IsRetry(errno)) {
      error_ = errno;
      return false;
    }
  }
  return true;
}

bool ByteChannel::ReadAll(std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t got = ::read(in_, buffer_.data() + done, bytes - done);
    if (got > 0) {
      done += static_cast<std::size_t>(got);
    } else if (got == 0 || !IsRetry(errno)) {
      error_ = got == 0 ? EPIPE : errno;
      return false;
    }
  }
  return true;
}

std::string ByteChannel::error() const { return std::generic_category().message(error_); }

absl::StatusOr<std::unique_ptr<UdpChannel>> UdpChannel::Create(const Cell& cell, Waiting waiting) {
  auto channel =
      std::make_unique<UdpChannel>(cell.size_bytes, cell.direction == Direction::kOneWay);
  std::array<sockaddr_in, 2> addresses;
  int buffer_bytes = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd.ok()) return ErrnoStatus(errno, "make a UDP socket");
    AskForBuffers(fd.get());
    socklen_t length = sizeof(buffer_bytes);
    ::getsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &buffer_bytes, &length);
    if (absl::Status status = BindToLoopback(fd.get(), &addresses[i]); !status.ok()) return status;
    if (waiting == Waiting::kSpin) {
      if (absl::Status status = SetNonblocking(fd.get()); !status.ok()) return status;
    }
    channel->sockets_[i] = std::move(fd);
  }
  for (std::size_t i = 0; i < 2; ++i) {
    if (::connect(channel->sockets_[i].get(), Generic(&addresses[1 - i]), sizeof(sockaddr_in)) !=
        0) {
      return ErrnoStatus(errno, "connect a UDP socket");
    }
  }
  // What a datagram is charged with is more than its length; half the buffer is safe.
  constexpr std::size_t kCharged = 2'304;
  channel->window_ = std::max<uint64_t>(
      static_cast<uint64_t>(buffer_bytes) / (2 * (2 * cell.size_bytes + kCharged)), 1);
  return channel;
}

absl::Status UdpChannel::Open(Side side) {
  fd_ = sockets_[static_cast<std::size_t>(side)].get();
  sockets_[1 - static_cast<std::size_t>(side)].Reset();
  return absl::OkStatus();
}

ssize_t UdpChannel::Take(void* into, std::size_t bytes) {
  while (true) {
    const ssize_t got = ::recv(fd_, into, bytes, 0);
    if (got >= 0) return got;
    if (!IsRetry(errno)) {
      error_ = errno;
      return -1;
    }
  }
}

bool UdpChannel::SendOne(std::size_t bytes) {
  if (windowed_ && sent_ == window_) {
    char word = 0;
    if (Take(&word, 1) < 0) return false;
    sent_ = 0;
  }
  while (::send(fd_, buffer_.data(), bytes, 0) < 0) {
    if (IsRetry(errno)) continue;
    error_ = errno;
    return false;
  }
  ++sent_;
  return true;
}

bool UdpChannel::ReceiveOne(std::size_t bytes) {
  const ssize_t got = Take(buffer_.data(), bytes);
  if (got != static_cast<ssize_t>(bytes)) return false;
  // The acknowledgement comes before the next window begins, so the sender never waits for more
  // than one.
  if (windowed_ && ++received_ == window_) {
    received_ = 0;
    const char word = 0;
    while (::send(fd_, &word, 1, 0) < 0) {
      if (IsRetry(errno)) continue;
      error_ = errno;
      return false;
    }
  }
  return true;
}

std::string UdpChannel::error() const { return std::generic_category().message(error_); }

absl::StatusOr<std::unique_ptr<MessageQueue>> MessageQueue::Create(const Cell& cell,
                                                                   Waiting waiting) {
  auto queue = std::make_unique<MessageQueue>(cell.size_bytes);
  for (std::size_t i = 0; i < 2; ++i) {
    mq_attr attributes = {};
    attributes.mq_maxmsg = MessageQueueLimit("msg_max");
    attributes.mq_msgsize = static_cast<long>(cell.size_bytes);
    const std::string name =
        "/parley-bench-" + std::to_string(::getpid()) + "-" + std::to_string(i);
    const int flags =
        O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | (waiting == Waiting::kSpin ? O_NONBLOCK : 0);
    queue->queues_[i] = UniqueFd(::mq_open(name.c_str(), flags, 0600, &attributes));
    if (!queue->queues_[i].ok()) return ErrnoStatus(errno, "make a message queue");
    // Both ends inherit it; the name is gone whatever happens to us.
    ::mq_unlink(name.c_str());
  }
  return queue;
}

absl::Status MessageQueue::Open(Side side) {
  out_ = queues_[static_cast<std::size_t>(side)].get();
  in_ = queues_[1 - static_cast<std::size_t>(side)].get();
  return absl::OkStatus();
}

bool MessageQueue::SendOne(std::size_t bytes) {
  // SAFETY: the interface takes characters.
  while (::mq_send(out_, reinterpret_cast<const char*>(buffer_.data()), bytes, 0) != 0) {
    if (IsRetry(errno)) continue;
    error_ = errno;
    return false;
  }
  return true;
}

bool MessageQueue::ReceiveOne(std::size_t bytes) {
  while (true) {
    // SAFETY: the interface takes characters.
    const ssize_t got =
        ::mq_receive(in_, reinterpret_cast<char*>(buffer_.data()), buffer_.size(), nullptr);
    if (got == static_cast<ssize_t>(bytes)) return true;
    if (got >= 0 || !IsRetry(errno)) {
      error_ = got >= 0 ? EMSGSIZE : errno;
      return false;
    }
  }
}

std::string MessageQueue::error() const { return std::generic_category().message(error_); }

}  // namespace parley::bench
