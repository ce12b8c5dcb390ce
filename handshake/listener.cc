// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/listener.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "parley/os/connected_socket.h"
#include "parley/os/disposal.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"

namespace parley {
namespace {

constexpr int kBacklog = 64;

struct Address {
  sockaddr_un value = {};
  socklen_t length = 0;
  bool is_file = false;

  // SAFETY: the sockets API takes every address family through this type.
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&value); }
};

absl::StatusOr<Address> ParseName(const std::string& name) {
  Address address;
  address.value.sun_family = AF_UNIX;
  if (name.empty() || name == "@" || name.size() >= sizeof(address.value.sun_path) ||
      name.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("a socket's name has 1 to 107 bytes, none of them zero");
  }
  std::memcpy(address.value.sun_path, name.data(), name.size());
  address.is_file = name[0] != '@';
  if (!address.is_file) address.value.sun_path[0] = '\0';
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() +
                                          (address.is_file ? 1 : 0));
  return address;
}

absl::StatusOr<UniqueFd> NewSocket(int flags = SOCK_NONBLOCK) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!fd.ok()) return ErrnoStatus(errno, "create a socket");
  return fd;
}

// True if somebody accepts connections at `address`.
absl::StatusOr<bool> SomebodyListens(const Address& address) {
  auto probe = NewSocket();
  if (!probe.ok()) return probe.status();
  if (::connect(probe->get(), address.get(), address.length) == 0) return true;
  // A full queue (EAGAIN) or a socket of another type (EPROTOTYPE) is somebody, too.
  return errno != ECONNREFUSED && errno != ENOENT;
}

std::string FolderOf(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Keeps two starting listeners from each removing the other's new file. Waits for at most a second:
// any user who can read the folder can lock it, and then the worst is the race.
UniqueFd LockFolder(const std::string& path) {
  UniqueFd folder(::open(FolderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.ok()) return folder;
  const Deadline deadline = Deadline::After(absl::Seconds(1));
  while (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0 && !deadline.Expired()) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  return folder;
}

// The mode of the file at `path`, if it is the one that `made` describes and no other.
bool SetMode(const std::string& path, const struct stat& made, mode_t mode) {
  const UniqueFd file(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info = {};
  if (!file.ok() || ::fstat(file.get(), &info) != 0) return false;
  if (info.st_dev != made.st_dev || info.st_ino != made.st_ino) {
    errno = ESTALE;
    return false;
  }
  return ::chmod(("/proc/self/fd/" + std::to_string(file.get())).c_str(), mode) == 0;
}

UniqueFd NewSpare() { return UniqueFd(::eventfd(0, EFD_CLOEXEC)); }

// Removes a socket file on which nobody listens any more.
absl::Status RemoveStaleFile(const std::string& path, const Address& address) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : ErrnoStatus(errno, "look at " + path);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::InvalidArgumentError(path + " exists and is no socket; it is left alone");
  }
  auto alive = SomebodyListens(address);
  if (!alive.ok()) return alive.status();
  if (*alive) {
    return absl::AlreadyExistsError("another process is listening on " + path +
                                    "; stop it or choose another path");
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "remove the stale socket " + path);
  }
  return absl::OkStatus();
}

}  // namespace

Listener::Listener(UniqueFd socket, std::string name, bool is_file, dev_t device, ino_t inode)
    : socket_(std::move(socket)),
      spare_(NewSpare()),
      name_(std::move(name)),
      maker_(::getpid()),
      owns_file_(is_file),
      device_(device),
      inode_(inode) {}

Listener::Listener(Listener&& other) noexcept
    : socket_(std::move(other.socket_)),
      spare_(std::move(other.spare_)),
      name_(std::move(other.name_)),
      maker_(other.maker_),
      owns_file_(std::exchange(other.owns_file_, false)),
      device_(other.device_),
      inode_(other.inode_) {}

Listener& Listener::operator=(Listener&& other) noexcept {
  if (this != &other) {
    Close();
    socket_ = std::move(other.socket_);
    spare_ = std::move(other.spare_);
    name_ = std::move(other.name_);
    maker_ = other.maker_;
    owns_file_ = std::exchange(other.owns_file_, false);
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

Listener::~Listener() { Close(); }

// Connections that were not accepted yet go with the last descriptor, and their messages with them.
void Listener::Close() {
  RemoveFile();
  CloseListening(std::move(socket_));
}

void Listener::RemoveFile() {
  // A forked child has a copy of this object, and the file is not its to remove.
  if (!std::exchange(owns_file_, false) || maker_ != ::getpid()) return;
  struct stat info = {};
  // Only if it is still ours: another listener may have taken the path over.
  if (::lstat(name_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
    ::unlink(name_.c_str());
  }
}

absl::StatusOr<Listener> Listener::Bind(const std::string& name, mode_t mode) {
  auto address = ParseName(name);
  if (!address.ok()) return address.status();
  auto socket = NewSocket();
  if (!socket.ok()) return socket.status();
  UniqueFd lock;
  if (address->is_file) {
    lock = LockFolder(name);
    if (absl::Status s = RemoveStaleFile(name, *address); !s.ok()) return s;
    // Before bind, so that the file never exists with more than this mode.
    if (::fchmod(socket->get(), mode) != 0) return ErrnoStatus(errno, "set a socket's mode");
  }
  // Before listen, so that nothing with descriptors is ever queued. Accepted ones inherit it.
  RefuseRights(socket->get());
  if (::bind(socket->get(), address->get(), address->length) != 0) {
    if (errno == EADDRINUSE) {
      return absl::AlreadyExistsError("another process is listening on " + name +
                                      "; stop it or choose another name");
    }
    return ErrnoStatus(errno, "make the socket " + name);
  }
  struct stat info = {};
  if (address->is_file && ::lstat(name.c_str(), &info) != 0) {
    return ErrnoStatus(errno, "look at the new socket " + name);
  }
  Listener listener(*std::move(socket), name, address->is_file, info.st_dev, info.st_ino);
  if (address->is_file) {
    // Bind takes away what the umask says. By number and not by name: the file is ours by now, and
    // nobody but us or the folder's owner can have put another in its place.
    if ((info.st_mode & 0777) != mode && !SetMode(name, info, mode)) {
      return ErrnoStatus(errno, "set the mode of the socket " + name);
    }
  }
  if (::listen(listener.fd(), kBacklog) != 0) return ErrnoStatus(errno, "listen on " + name);
  return listener;
}

absl::StatusOr<std::optional<PeerSocket>> Listener::TryAccept() {
  // No helper, no place for what could be slow to close: nobody is let in.
  if (DisposalIsFull() && TendDisposal().parked >= kMaxParkedDescriptors) {
    return absl::ResourceExhaustedError("too much that peers made can't be closed yet");
  }
  if (!spare_.ok()) spare_ = NewSpare();
  UniqueFd fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.ok()) {
    if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) {
      return std::nullopt;  // nobody there, or there no more
    }
    const absl::Status status = ErrnoStatus(errno, "accept a connection");
    if (spare_.ok()) {
      spare_.Reset();
      UniqueFd taken(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      const bool nobody = !taken.ok() && (errno == EAGAIN || errno == EWOULDBLOCK);
      ConnectedSocket(std::move(taken)).Reset();
      spare_ = NewSpare();
      // With a full table the kernel says so before it looks at the queue.
      if (nobody) return std::nullopt;
    }
    return status;
  }
  auto socket = PeerSocket::Adopt(std::move(fd), PeerSocket::Origin::kAccepted);
  if (!socket.ok()) return std::nullopt;  // gone already
  return std::optional<PeerSocket>(*std::move(socket));
}

absl::StatusOr<PeerSocket> ConnectTo(const std::string& name, Deadline deadline) {
  auto address = ParseName(name);
  if (!address.ok()) return address.status();
  // A blocking connect: the kernel lets those in who wait in the order in which they came, and one
  // that asks again and again would never come before those that wait.
  auto socket = NewSocket(0);
  if (!socket.ok()) return socket.status();
  while (true) {
    const timespec left = deadline.RemainingTimespec();
    // Zero would be for ever.
    const timeval limit = {left.tv_sec, std::max<suseconds_t>(left.tv_nsec / 1000, 1)};
    if (::setsockopt(socket->get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
      return ErrnoStatus(errno, "limit the time to connect");
    }
    if (::connect(socket->get(), address->get(), address->length) == 0) break;
    if (errno == EAGAIN || errno == EINTR) {
      if (deadline.Expired()) {
        return absl::DeadlineExceededError(name + " does not accept connections in time");
      }
      continue;
    }
    return ErrnoStatus(errno, "connect to " + name + " (is the other program running?)");
  }
  if (::fcntl(socket->get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) {
    return ErrnoStatus(errno, "make a socket non-blocking");
  }
  return PeerSocket::Adopt(*std::move(socket), PeerSocket::Origin::kConnected);
}

}  // namespace parley
