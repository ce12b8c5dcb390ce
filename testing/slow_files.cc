// SPDX-License-Identifier: Apache-2.0
#include "parley/testing/slow_files.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace parley::testing_support {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr unsigned kLongestLife = 20;  // seconds; of what a test that was killed leaves behind

fuse_attr FileAttributes() {
  fuse_attr attributes = {};
  attributes.ino = 1;
  attributes.size = kPageBytes;
  attributes.blocks = 8;
  attributes.mode = S_IFREG | 0666;
  attributes.nlink = 1;
  attributes.blksize = kPageBytes;
  return attributes;
}

bool Answer(int device, const fuse_in_header& in, const void* body, std::size_t size, int error) {
  fuse_out_header out = {};
  out.unique = in.unique;
  out.error = error;
  out.len = static_cast<uint32_t>(sizeof(out) + size);
  // SAFETY: writev does not write through iov_base.
  std::array<iovec, 2> parts = {{{&out, sizeof(out)}, {const_cast<void*>(body), size}}};
  return ::writev(device, parts.data(), size == 0 ? 1 : 2) >= 0;
}

[[noreturn]] void ServeAllButWrites(int device) {
  std::vector<char> buffer(1 << 17);
  while (true) {
    const ssize_t got = ::read(device, buffer.data(), buffer.size());
    if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) ::_exit(0);
    fuse_in_header in = {};
    std::memcpy(&in, buffer.data(), sizeof(in));
    if (in.opcode == FUSE_INIT) {
      fuse_init_out init = {};
      init.major = FUSE_KERNEL_VERSION;
      init.minor = 31;
      init.flags = FUSE_WRITEBACK_CACHE;
      init.max_write = kPageBytes;
      Answer(device, in, &init, sizeof(init), 0);
    } else if (in.opcode == FUSE_GETATTR || in.opcode == FUSE_SETATTR) {
      fuse_attr_out attributes = {};
      attributes.attr_valid = 3600;
      attributes.attr = FileAttributes();
      Answer(device, in, &attributes, sizeof(attributes), 0);
    } else if (in.opcode == FUSE_OPEN) {
      const fuse_open_out open = {};
      Answer(device, in, &open, sizeof(open), 0);
    } else if (in.opcode == FUSE_READ) {
      const std::array<char, kPageBytes> zeros = {};
      Answer(device, in, zeros.data(), zeros.size(), 0);
    } else if (in.opcode == FUSE_FLUSH || in.opcode == FUSE_RELEASE) {
      Answer(device, in, nullptr, 0, 0);
    } else if (in.opcode != FUSE_WRITE) {
      Answer(device, in, nullptr, 0, -ENOSYS);
    }
  }
}

}  // namespace

UniqueFd LingeringSocket(absl::Duration linger) {
  const UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int small = 4096;
  ::setsockopt(listening.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  // SAFETY: the sockets API takes every address family through this type.
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listening.get(), any, length) != 0 || ::listen(listening.get(), 1) != 0 ||
      ::getsockname(listening.get(), any, &length) != 0) {
    return UniqueFd();
  }
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), any, length) != 0) return UniqueFd();
  // The other end stays open and never reads.
  static_cast<void>(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const std::vector<char> junk(1 << 16);
  while (::send(socket.get(), junk.data(), junk.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
  }
  const struct linger option = {1, static_cast<int>(absl::ToInt64Seconds(linger))};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &option, sizeof(option));
  return socket;
}

bool SendWithDescriptor(int socket, int fd) {
  char byte = 'x';
  iovec data = {&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* c = CMSG_FIRSTHDR(&header);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &fd, sizeof(fd));
  return ::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

HangingFile::HangingFile() {
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("parley", "/mnt", "tmpfs", 0, nullptr) != 0) {
    return;
  }
  const UniqueFd point(::open("/mnt/file", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  const std::string options =
      "fd=" + std::to_string(device.get()) + ",rootmode=100000,user_id=0,group_id=0,allow_other";
  if (!device.ok() || ::mount("parley", "/mnt/file", "fuse", 0, options.c_str()) != 0) return;
  daemon_ = ::fork();
  if (daemon_ == 0) {
    ::dup2(device.get(), 3);
    ::close_range(4, ~0U, 0);
    ::alarm(kLongestLife);
    ServeAllButWrites(3);
  }
  device.Reset();
  UniqueFd file(::open("/mnt/file", O_RDWR | O_CLOEXEC));
  // With FUSE_WRITEBACK_CACHE the kernel's idea of the length counts, and it starts at 0.
  if (!file.ok() || ::ftruncate(file.get(), kPageBytes) != 0) return;
  file_ = std::move(file);
}

namespace {

// Whether a process that ends as the last owner of the file hangs: a third of a second, if so.
bool ReleaseWaits(HangingFile& file) {
  int ends[2] = {-1, -1};
  int go[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0 ||
      ::pipe2(go, O_CLOEXEC) != 0 || !file.SendTo(ends[0])) {
    return false;
  }
  const pid_t owner = ::fork();
  if (owner == 0) {
    ::close(go[1]);
    char byte = 0;
    ::_exit(::read(go[0], &byte, 1) == 0 ? 0 : 1);
  }
  for (const int fd : {ends[0], ends[1], go[0], go[1]}) ::close(fd);
  bool ended = false;
  for (int i = 0; i < 30 && !ended; ++i) {
    ::usleep(10'000);
    ended = ::waitpid(owner, nullptr, WNOHANG) == owner;
  }
  file.StopDaemon();
  if (!ended) ::waitpid(owner, nullptr, 0);
  return !ended;
}

}  // namespace

bool HangingFile::Possible() {
  const pid_t child = ::fork();
  if (child == 0) {
    HangingFile file;
    const bool ok = file.ok() && ReleaseWaits(file);
    file.StopDaemon();
    ::_exit(ok ? 0 : 1);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

bool HangingFile::SendTo(int socket) {
  const bool sent = SendWithDescriptor(socket, file_.get());
  file_.Reset();  // while there is nothing to write
  int written[2] = {-1, -1};
  if (::pipe2(written, O_CLOEXEC) != 0) return false;
  writer_ = ::fork();
  if (writer_ == 0) {
    ::dup2(written[1], 3);
    ::close_range(4, ~0U, 0);
    ::alarm(kLongestLife);
    // Another open file of the same inode: its close would hang, so it is never closed.
    const int file = ::open("/mnt/file", O_RDWR);
    if (::pwrite(file, "x", 1, 0) == 1) static_cast<void>(!::write(3, "x", 1));
    while (true) ::pause();
  }
  ::close(written[1]);
  char byte = 0;
  const bool dirty = ::read(written[0], &byte, 1) == 1;
  ::close(written[0]);
  return sent && dirty;
}

void HangingFile::StopDaemon() {
  for (pid_t* process : {&daemon_, &writer_}) {
    if (*process <= 0) continue;
    ::kill(*process, SIGKILL);
    ::waitpid(*process, nullptr, 0);
    *process = -1;
  }
}

}  // namespace parley::testing_support
