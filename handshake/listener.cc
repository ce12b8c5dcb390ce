#include "parley/handshake/listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
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

absl::StatusOr<UniqueFd> NewSocket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
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
      name_(std::move(name)),
      owns_file_(is_file),
      device_(device),
      inode_(inode) {}

Listener::Listener(Listener&& other) noexcept
    : socket_(std::move(other.socket_)),
      name_(std::move(other.name_)),
      owns_file_(std::exchange(other.owns_file_, false)),
      device_(other.device_),
      inode_(other.inode_) {}

Listener& Listener::operator=(Listener&& other) noexcept {
  if (this != &other) {
    RemoveFile();
    socket_ = std::move(other.socket_);
    name_ = std::move(other.name_);
    owns_file_ = std::exchange(other.owns_file_, false);
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

void Listener::RemoveFile() {
  if (!owns_file_) return;
  owns_file_ = false;
  struct stat info = {};
  // Only if it is still ours: another listener may have taken the path over.
  if (::lstat(name_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
    ::unlink(name_.c_str());
  }
}

absl::StatusOr<Listener> Listener::Bind(const std::string& name) {
  auto address = ParseName(name);
  if (!address.ok()) return address.status();
  auto socket = NewSocket();
  if (!socket.ok()) return socket.status();
  UniqueFd lock;
  if (address->is_file) {
    lock = LockFolder(name);
    if (absl::Status s = RemoveStaleFile(name, *address); !s.ok()) return s;
    // Before bind, so that the file never exists with another mode.
    if (::fchmod(socket->get(), 0600) != 0) return ErrnoStatus(errno, "restrict a socket to us");
  }
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
  if (::listen(listener.fd(), kBacklog) != 0) return ErrnoStatus(errno, "listen on " + name);
  return listener;
}

absl::StatusOr<std::optional<PeerSocket>> Listener::TryAccept() const {
  UniqueFd fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.ok()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      return ErrnoStatus(errno, "accept a connection");
    }
    return std::nullopt;  // nobody there, or there no more
  }
  auto socket = PeerSocket::Adopt(std::move(fd));
  if (!socket.ok()) return std::nullopt;  // gone already
  return std::optional<PeerSocket>(*std::move(socket));
}

absl::StatusOr<PeerSocket> ConnectTo(const std::string& name, Deadline deadline) {
  auto address = ParseName(name);
  if (!address.ok()) return address.status();
  auto socket = NewSocket();
  if (!socket.ok()) return socket.status();
  while (::connect(socket->get(), address->get(), address->length) != 0) {
    if (errno == EAGAIN) {
      // The queue is full. There is nothing to poll for: AF_UNIX does not connect in the
      // background.
      if (deadline.Expired()) {
        return absl::DeadlineExceededError(name + " does not accept connections in time");
      }
      absl::SleepFor(absl::Milliseconds(1));
    } else if (errno != EINTR) {
      return ErrnoStatus(errno, "connect to " + name + " (is the other program running?)");
    }
  }
  return PeerSocket::Adopt(*std::move(socket));
}

}  // namespace parley
