// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/raw_peer.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "parley/handshake/listener.h"
#include "parley/os/check.h"
#include "parley/ring/layout.h"
#include "parley/sealing/seals.h"
#include "parley/shm/arena_layout.h"

namespace parley::villain {
namespace {

Deadline Soon() { return Deadline::After(absl::Seconds(20)); }

PeerSocket Adopted(Attacker& attacker) {
  auto socket = PeerSocket::Adopt(std::move(attacker.socket));
  if (!socket.ok()) attacker.CannotMount(socket.status().ToString());
  return *std::move(socket);
}

}  // namespace

void Attacker::Mounted(const std::string& what) {
  if (notes.leaked.load() == 0) notes.Say(what);
  notes.mounted.store(1);
}

void Attacker::Leaked(const std::string& what) {
  notes.Say(what);
  notes.leaked.store(1);
  notes.mounted.store(1);
}

void Attacker::CannotMount(const std::string& why) {
  if (notes.mounted.load() != 0) Stay();  // what followed the attack is no trouble
  notes.Say(why);
  notes.gave_up.store(1);
  ::_exit(110);
}

void Attacker::Stay() {
  while (true) ::pause();
}

Hello HonestHello() {
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  hello.send = {kRingBytes, kRingBytes / 4};
  hello.receive = {kRingBytes, kRingBytes / 4};
  return hello;
}

UniqueFd MakeMemfd(uint64_t size_bytes, unsigned seals, bool sparse, unsigned flags) {
  UniqueFd fd(::memfd_create("parley", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
  if (!fd.ok()) return fd;
  if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) return UniqueFd();
  if (!sparse && size_bytes != 0) {
    if (::fallocate(fd.get(), 0, 0, static_cast<off_t>(size_bytes)) != 0) return UniqueFd();
  }
  // SEAL last: it forbids the others.
  ::fcntl(fd.get(), F_ADD_SEALS, seals & ~unsigned{F_SEAL_SEAL});
  ::fcntl(fd.get(), F_ADD_SEALS, seals & F_SEAL_SEAL);
  return fd;
}

Words MapShared(Attacker& attacker, int fd, std::size_t size_bytes, bool writable) {
  void* base =
      ::mmap(nullptr, size_bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    attacker.CannotMount(std::string("mapping a region: ") + std::strerror(errno));
  }
  return Words(static_cast<uint64_t*>(base), size_bytes);
}

UniqueFd Dial(const Attacker& a) {
  while (!a.until.Expired()) {
    auto socket = ConnectTo(a.name, Deadline::After(absl::Seconds(1)));
    if (socket.ok()) return std::move(*socket).Release();
    ::usleep(1000);
  }
  return UniqueFd();
}

bool SendRaw(int socket, const void* bytes, std::size_t size, const std::vector<int>& descriptors) {
  // SAFETY: an iovec is for both directions; sendmsg only reads.
  iovec part = {const_cast<void*>(bytes), size};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::vector<uint64_t> control(CMSG_SPACE(descriptors.size() * sizeof(int)) / 8 + 1);
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  }
  return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

RawPeer RawPeer::Connect(Attacker& attacker) { return Connect(attacker, Plan()); }

RawPeer RawPeer::Connect(Attacker& attacker, const Plan& plan) {
  RawPeer peer{Adopted(attacker), {}, {}, {}, {}, -1, -1};
  if (plan.send_hello) {
    plan.send_hello(peer.socket.fd());
  } else if (!peer.socket.Send(EncodeHello(plan.hello)).ok()) {
    attacker.CannotMount("hello not sent");
  }
  std::array<std::byte, kMaxMessageBytes> buffer;
  auto size = peer.socket.Receive(absl::MakeSpan(buffer), Soon());
  if (!size.ok() && plan.refused) plan.refused(size.status().ToString());
  if (!size.ok()) attacker.CannotMount("no welcome: " + size.status().ToString());
  auto welcome = ParseWelcome(absl::MakeConstSpan(buffer).first(*size));
  if (!welcome.ok() && plan.refused) plan.refused(welcome.status().ToString());
  if (!welcome.ok()) attacker.CannotMount("no welcome: " + welcome.status().ToString());
  peer.welcome = *welcome;
  if (!plan.say_accepted) return peer;
  if (!peer.socket.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok()) {
    attacker.CannotMount("accepted not sent");
  }
  auto got = peer.socket.ReceiveWithDescriptors(absl::MakeSpan(buffer), 8, Soon());
  if (!got.ok() || got->descriptors.size() < 2) {
    attacker.CannotMount("no descriptors: " + got.status().ToString());
  }
  peer.descriptors = std::move(got->descriptors);
  if (welcome->doorbell == kDoorbellEventfd && peer.descriptors.size() == 6) {
    peer.data_doorbell = peer.descriptors[3].get();
    peer.space_doorbell = peer.descriptors[5].get();
  } else if (welcome->doorbell == kDoorbellSocket) {
    peer.data_doorbell = peer.socket.fd();
    peer.space_doorbell = peer.socket.fd();
  }
  peer.theirs = MapShared(
      attacker, peer.descriptors[0].get(),
      kControlBytes + ArenaSectionBytes(welcome->receive.arena) + welcome->receive.capacity_bytes,
      false);
  peer.own = MapShared(
      attacker, peer.descriptors[1].get(),
      kControlBytes + ArenaSectionBytes(welcome->send.arena) + welcome->send.capacity_bytes, true);
  if (plan.before_seal) plan.before_seal(peer);
  if (plan.seal) {
    ::fcntl(peer.descriptors[1].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
  }
  if (plan.before_mapped) plan.before_mapped(peer);
  if (!plan.say_mapped) return peer;
  if (!peer.socket.Send(EncodeChannelId(MessageType::kMapped, welcome->channel_id)).ok()) {
    attacker.CannotMount("mapped not sent");
  }
  if (!plan.seal) return peer;  // refused, if all is well
  size = peer.socket.Receive(absl::MakeSpan(buffer), Soon());
  if (!size.ok()) attacker.CannotMount("no ready: " + size.status().ToString());
  const absl::Status ready = ParseChannelId(absl::MakeConstSpan(buffer).first(*size),
                                            MessageType::kReady, welcome->channel_id);
  if (!ready.ok()) attacker.CannotMount("no ready: " + ready.ToString());
  return peer;
}

Words RawPeer::Data() const {
  const uint64_t at = kControlBytes + ArenaSectionBytes(welcome.send.arena);
  return Words(static_cast<uint64_t*>(own.address()) + at / 8, own.size_bytes() - at);
}
Words RawPeer::Arena() const {
  return Words(static_cast<uint64_t*>(own.address()) + kControlBytes / 8,
               ArenaSectionBytes(welcome.send.arena));
}
Words RawPeer::TheirData() const {
  const uint64_t at = kControlBytes + ArenaSectionBytes(welcome.receive.arena);
  return Words(static_cast<uint64_t*>(theirs.address()) + at / 8, theirs.size_bytes() - at);
}

void RawPeer::Drain() const { own.Store(kHeadOffset, theirs.Load(kTailOffset)); }

void RawPeer::RingData() const {
  ::send(data_doorbell, &kDataSignal, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void RawPeer::RingBoth() const {
  if (welcome.doorbell == kDoorbellEventfd) {
    const uint64_t one = 1;
    static_cast<void>(!::write(data_doorbell, &one, sizeof(one)));
    static_cast<void>(!::write(space_doorbell, &one, sizeof(one)));
    return;
  }
  for (const char wake : {kDataSignal, kSpaceSignal}) {
    ::send(data_doorbell, &wake, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

void RawPeer::Publish(uint64_t header, uint64_t tail) const {
  Data().Store(0, header);
  own.Store(kTailOffset, tail);
  RingBoth();
}

RawHost RawHost::Prepare(Attacker& attacker) {
  return Prepare(attacker, {kRingBytes, kRingBytes / 4});
}

RawHost RawHost::Prepare(Attacker& attacker, const DirectionSpec& usual) {
  RawHost host{Adopted(attacker), {}, {}, {}, {}, {}};
  std::array<std::byte, kMaxMessageBytes> buffer;
  auto size = host.socket.Receive(absl::MakeSpan(buffer), Soon());
  if (!size.ok()) attacker.CannotMount("no hello: " + size.status().ToString());
  auto hello = ParseHello(absl::MakeConstSpan(buffer).first(*size));
  if (!hello.ok()) attacker.CannotMount("no hello: " + hello.status().ToString());
  host.hello = *hello;
  Welcome& welcome = host.welcome;
  welcome.roles = hello->roles;
  welcome.doorbell = kDoorbellSocket;
  welcome.channel_id = {0x1234'5678'9abc'def0, 0x0fed'cba9'8765'4321};
  const auto granted = [&](uint32_t role, const DirectionSpec& wish) {
    if ((hello->roles & role) == 0) return DirectionSpec{};
    return wish.capacity_bytes != 0 ? wish : usual;
  };
  welcome.send = granted(kRoleSends, hello->send);
  welcome.receive = granted(kRoleReceives, hello->receive);
  host.descriptors.push_back(
      MakeMemfd(kControlBytes + welcome.receive.capacity_bytes, F_SEAL_SHRINK | F_SEAL_GROW));
  host.own = MapShared(attacker, host.descriptors[0].get(),
                       kControlBytes + welcome.receive.capacity_bytes, true);
  ::fcntl(host.descriptors[0].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
  host.descriptors.push_back(
      MakeMemfd(kControlBytes + welcome.send.capacity_bytes, F_SEAL_SHRINK | F_SEAL_GROW));
  return host;
}

bool RawHost::SendWelcome() const {
  const std::vector<std::byte> message = EncodeWelcome(welcome);
  if (!SendRaw(socket.fd(), message.data(), message.size(), {})) return false;
  const std::vector<std::byte> handed_over =
      EncodeChannelId(MessageType::kDescriptors, welcome.channel_id);
  std::vector<int> numbers;
  for (const UniqueFd& fd : descriptors) numbers.push_back(fd.get());
  // A victim that did not like the Welcome may have hung up by now.
  SendRaw(socket.fd(), handed_over.data(), handed_over.size(), numbers);
  return true;
}

bool RawHost::Finish() {
  std::array<std::byte, kMaxMessageBytes> buffer;
  auto size = socket.Receive(absl::MakeSpan(buffer), Soon());  // "accepted"
  if (!size.ok()) return false;
  size = socket.Receive(absl::MakeSpan(buffer), Soon());
  if (!size.ok()) return false;
  const absl::Status mapped = ParseChannelId(absl::MakeConstSpan(buffer).first(*size),
                                             MessageType::kMapped, welcome.channel_id);
  if (!mapped.ok()) return false;
  return socket.Send(EncodeChannelId(MessageType::kReady, welcome.channel_id)).ok();
}

void PullAt(Attacker& attacker, int fd, const Words& mapped) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const UniqueFd reopened(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  for (const int each : {fd, reopened.get()}) {
    if (each < 0) continue;
    if (::ftruncate(each, 0) == 0 || ::ftruncate(each, 1 << 20) == 0) attacker.Leaked("resized it");
    if (::fallocate(each, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0) {
      attacker.Leaked("punched a hole into it");
    }
    if (::pwrite(each, "x", 1, 0) >= 0) attacker.Leaked("wrote to it");
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, each, 0);
    if (page != MAP_FAILED) {
      attacker.Leaked("mapped it writable");
      ::munmap(page, 4096);
    }
  }
  if (::mprotect(mapped.address(), 4096, PROT_READ | PROT_WRITE) == 0) {
    attacker.Leaked("made a mapping of it writable");
  }
}

bool TryToHoldInodeLock(int fd) {
  const pid_t holder = ::fork();
  if (holder == 0) {
    void* page = PageThatNeverComes();
    static_cast<void>(!::pwrite(fd, page, 100, 0));
    ::_exit(1);
  }
  ::usleep(150'000);
  // A sealed file refuses the write before it looks at the page, from about Linux 6.16 on.
  return ::waitpid(holder, nullptr, WNOHANG) == 0;
}

void* PageThatNeverComes() {
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const int faults = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
  if (page == MAP_FAILED || faults < 0) return nullptr;
  uffdio_api api = {};
  api.api = UFFD_API;
  uffdio_register range = {};
  // SAFETY: userfaultfd takes addresses as integers.
  range.range.start = reinterpret_cast<uintptr_t>(page);
  range.range.len = 4096;
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (::ioctl(faults, UFFDIO_API, &api) != 0 || ::ioctl(faults, UFFDIO_REGISTER, &range) != 0) {
    return nullptr;
  }
  return page;
}

std::string HasUserfaultfd() {
  const UniqueFd faults(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)));
  return faults.ok() ? "" : std::string("no userfaultfd for this user: ") + std::strerror(errno);
}

}  // namespace parley::villain
