// SPDX-License-Identifier: Apache-2.0

// Rows F1 to F11: descriptors and messages that should not be there.

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/sealing/seals.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"

namespace parley::villain {
namespace {

constexpr uint32_t kRefused = static_cast<uint32_t>(End::kRefused);
constexpr uint32_t kTimedOut = static_cast<uint32_t>(End::kTimedOut);
constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);

std::vector<std::byte> HelloBytes() { return EncodeHello(HonestHello()); }

// A hello with descriptors attached.
void SendHelloWith(Attacker& a, const std::vector<int>& descriptors, const std::string& what) {
  const std::vector<std::byte> hello = HelloBytes();
  const bool sent = SendRaw(a.socket.get(), hello.data(), hello.size(), descriptors);
  // A kernel that refuses for the victim (SO_PASSRIGHTS) makes it an attack that failed at once;
  // then the hello goes without, cut short, so that there is something to refuse.
  if (!sent) ::send(a.socket.get(), hello.data(), hello.size() - 1, MSG_NOSIGNAL);
  a.Mounted(what + (sent ? "" : "; the kernel refused to send it"));
  Attacker::Stay();
}

UniqueFd Eventfd(unsigned flags = 0) {
  return UniqueFd(::eventfd(0, static_cast<int>(EFD_CLOEXEC | EFD_NONBLOCK | flags)));
}

// Whether this kernel says of an eventfd that it is a semaphore (Linux 6.6). Elsewhere the victim
// cannot refuse one, and what each of its wake-ups costs has a budget.
bool NamesSemaphores() {
  const UniqueFd fd = Eventfd(EFD_SEMAPHORE);
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd.get()));
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("eventfd-semaphore:")) return true;
  }
  return false;
}

// A mount namespace whose mounts stay in it. Not to be had in a chroot.
bool OwnMounts() {
  return ::unshare(CLONE_NEWNS) == 0 &&
         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

std::string HasFuse() {
  if (::geteuid() != 0) return "not root, so no mount";
  const pid_t child = ::fork();
  if (child == 0) ::_exit(OwnMounts() ? 0 : 1);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) return "no mount namespace of its own";
  return ::access("/dev/fuse", R_OK | W_OK) == 0 ? "" : "no /dev/fuse";
}

// A directory on a file system whose daemon is this process, and stops answering once it is open.
int DirectoryOfOwnFuse(Attacker& a) {
  if (!OwnMounts() || ::mount("parley", "/mnt", "tmpfs", 0, nullptr) != 0) {
    a.CannotMount(std::string("no mount namespace: ") + std::strerror(errno));
  }
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  const std::string options =
      "fd=" + std::to_string(device) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
  if (device < 0 || ::mount("parley", "/mnt", "fuse", 0, options.c_str()) != 0) {
    a.CannotMount(std::string("no FUSE: ") + std::strerror(errno));
  }
  if (::fork() == 0) {
    std::vector<char> buffer(1 << 17);
    while (true) {
      const ssize_t got = ::read(device, buffer.data(), buffer.size());
      if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) ::_exit(0);
      fuse_in_header in = {};
      std::memcpy(&in, buffer.data(), sizeof(in));
      fuse_out_header out = {};
      out.unique = in.unique;
      fuse_init_out init = {};
      init.major = FUSE_KERNEL_VERSION;
      init.minor = 31;
      init.max_write = 4096;
      fuse_open_out open = {};
      void* body = nullptr;
      std::size_t size = 0;
      if (in.opcode == FUSE_INIT) {
        body = &init;
        size = sizeof(init);
      } else if (in.opcode == FUSE_OPENDIR) {
        body = &open;
        size = sizeof(open);
      } else {
        continue;  // never answered: whoever asked hangs
      }
      out.len = static_cast<uint32_t>(sizeof(out) + size);
      iovec parts[] = {{&out, sizeof(out)}, {body, size}};
      if (::writev(device, parts, 2) < 0) ::_exit(1);
    }
  }
  const int directory = ::open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) a.CannotMount(std::string("no FUSE directory: ") + std::strerror(errno));
  return directory;
}

void FuseWithHello(Attacker& a) {
  SendHelloWith(a, {DirectoryOfOwnFuse(a)}, "sent a directory whose fstat hangs");
}

// A welcome with one descriptor exchanged.
AttackFunction EventfdDoorbells(const std::function<UniqueFd()>& make, const char* what) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    host.welcome.doorbell = kDoorbellEventfd;
    host.descriptors.resize(2);
    for (int i = 0; i < 4; ++i) host.descriptors.push_back(i == 2 ? make() : Eventfd());
    if (!host.descriptors[4].ok()) a.CannotMount(std::string("cannot make ") + what);
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    a.Mounted(std::string("offered ") + what + " among eventfd doorbells");
    Attacker::Stay();
  };
}

AttackFunction WelcomeWith(std::size_t extra) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    for (std::size_t i = 0; i < extra; ++i) host.descriptors.push_back(Eventfd());
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    a.Mounted("sent " + std::to_string(host.descriptors.size()) + " descriptors for 2");
    Attacker::Stay();
  };
}

int DescriptorsOf(const Attacker& a) {
  int count = 0;
  for (int fd = 0; fd < 200; ++fd) {
    std::array<char, 8> target;
    const std::string path = "/proc/" + std::to_string(a.victim_pid) + "/fd/" + std::to_string(fd);
    if (::readlink(path.c_str(), target.data(), target.size()) >= 0) ++count;
  }
  return count;
}

// Once it has made all that it wants to have: the count stayed for 50 ms. At most five seconds.
int DescriptorsAtRest(const Attacker& a) {
  int count = DescriptorsOf(a);
  for (int same = 0, tries = 0; same < 5 && tries < 500; ++tries) {
    ::usleep(10'000);
    const int now = DescriptorsOf(a);
    same = now == count ? same + 1 : 0;
    count = now;
  }
  return count;
}

// Wake-ups with descriptors attached, while counting what the victim has. A descriptor that is
// there for a moment, as where it asks for the end of a process, is not one of 64.
void WakeUpsWithDescriptors(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  const int before = DescriptorsAtRest(a);
  const UniqueFd fd = Eventfd();
  const std::vector<int> many(64, fd.get());
  const char wake = 1;
  int sent = 0;
  for (int i = 0; i < 40; ++i) {
    if (SendRaw(peer.data_doorbell, &wake, 1, many)) ++sent;
    if (SendRaw(peer.space_doorbell, &wake, 1, many)) ++sent;
    if (DescriptorsOf(a) > before + 8) a.Leaked("the victim installed descriptors from a wake-up");
    ::usleep(1000);
  }
  a.Mounted(std::to_string(sent) + " wake-ups carried descriptors, none was installed" +
            (sent == 0 ? " (the kernel refuses them)" : ""));
  Attacker::Stay();
}

// How many descriptors the victim would hand to a program that it starts.
int Inheritable(const Attacker& a) {
  int count = 0;
  for (int fd = 3; fd < 64; ++fd) {
    std::ifstream info("/proc/" + std::to_string(a.victim_pid) + "/fdinfo/" + std::to_string(fd));
    for (std::string line; std::getline(info, line);) {
      if (line.rfind("flags:", 0) != 0) continue;
      if ((std::stoul(line.substr(6), nullptr, 8) & O_CLOEXEC) == 0) ++count;
    }
  }
  return count;
}

void InheritableAfterWelcome(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  const int before = Inheritable(a);
  if (!host.SendWelcome()) a.CannotMount("welcome not sent");
  bool more = false;
  // From the moment they arrive on, not only at the end.
  for (int i = 0; i < 20; ++i) more |= Inheritable(a) > before;
  const bool finished = host.Finish();
  for (int i = 0; i < 20; ++i) more |= Inheritable(a) > before;
  if (!finished) a.CannotMount("the victim refused an honest welcome");
  if (more) a.Leaked("received descriptors would be inherited by an exec");
  a.Mounted("everything that was received is close-on-exec");
  Attacker::Stay();
}

void EmptyAfterReady(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  if (::send(peer.data_doorbell, "", 0, MSG_NOSIGNAL) != 0) a.CannotMount("not sent");
  a.Mounted("an empty message among the wake-ups");
  Attacker::Stay();
}

AttackFunction HelloOf(const std::function<std::vector<std::byte>()>& bytes, const char* what) {
  return [=](Attacker& a) {
    const std::vector<std::byte> message = bytes();
    if (::send(a.socket.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
      a.CannotMount("not sent");
    }
    a.Mounted(what);
    Attacker::Stay();
  };
}

// Sockets that hold each other, so that only the kernel's garbage collector ends them.
void SocketsInSockets(Attacker& a) {
  std::vector<int> held;
  for (int i = 0; i < 8; ++i) {
    std::array<int, 2> pair;
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) break;
    SendRaw(pair[0], "x", 1, {pair[0], pair[1]});
    held.push_back(pair[0]);
  }
  SendHelloWith(a, held, "sent 8 sockets with sockets inside");
}

}  // namespace

std::vector<Case> DescriptorCases() {
  VictimSetup accept;
  VictimSetup late;
  late.late = true;
  VictimSetup connect;
  connect.kind = VictimKind::kConnect;
  VictimSetup trusting = connect;
  trusting.confined = true;
  return {
      {"fuse-with-hello", "F1", "a descriptor of its own file system, whose fstat never returns",
       late, FuseWithHello, kRefused, HasFuse, "root and FUSE"},
      {"eventfd-with-hello", "F1", "a descriptor with the hello", late,
       [](Attacker& a) {
         const UniqueFd fd = Eventfd();
         SendHelloWith(a, {fd.get()}, "sent a hello with a descriptor");
       },
       kRefused},
      {"one-too-many", "F2", "one descriptor more than the handshake has", connect, WelcomeWith(1),
       kRefused},
      {"ten-too-many", "F2", "more descriptors than a buffer for them holds", connect,
       WelcomeWith(10), kRefused},
      {"descriptor-flood", "F3", "as many descriptors as one message carries", connect,
       WelcomeWith(240), kRefused},
      {"inheritable", "F4", "a race with our exec for what was just received", connect,
       InheritableAfterWelcome, kServed},
      {"wake-ups-with-descriptors", "F5", "descriptors attached to wake-ups", accept,
       WakeUpsWithDescriptors, End::kServed | End::kPoisoned},
      {"claims-none", "F6", "a welcome whose descriptors are missing", connect,
       [](Attacker& a) {
         RawHost host = RawHost::Prepare(a);
         host.descriptors.clear();
         if (!host.SendWelcome()) a.CannotMount("welcome not sent");
         a.Mounted("a welcome without descriptors");
         Attacker::Stay();
       },
       kRefused},
      {"doorbell-missing", "F6", "a welcome without its last doorbell", trusting,
       [](Attacker& a) {
         RawHost host = RawHost::Prepare(a);
         host.welcome.doorbell = kDoorbellEventfd;
         for (int i = 0; i < 3; ++i) host.descriptors.push_back(Eventfd());
         if (!host.SendWelcome()) a.CannotMount("welcome not sent");
         a.Mounted("a welcome without its doorbell");
         Attacker::Stay();
       },
       kRefused},
      {"doorbell-is-pipe", "F7", "a pipe among the eventfds", trusting,
       EventfdDoorbells(
           [] {
             std::array<int, 2> ends = {-1, -1};
             static_cast<void>(::pipe2(ends.data(), O_CLOEXEC));
             return UniqueFd(ends[1]);
           },
           "a pipe"),
       kRefused},
      {"doorbell-is-stream", "F7", "a stream socket among the eventfds", trusting,
       EventfdDoorbells(
           [] {
             std::array<int, 2> ends = {-1, -1};
             static_cast<void>(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()));
             return UniqueFd(ends[0]);
           },
           "a stream socket"),
       kRefused},
      {"doorbell-is-timer", "F7", "a timer among the eventfds", trusting,
       EventfdDoorbells(
           [] { return UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); },
           "a timer"),
       kRefused},
      {"doorbell-is-semaphore", "F8", "a semaphore among the eventfds", trusting,
       EventfdDoorbells([] { return Eventfd(EFD_SEMAPHORE); }, "a semaphore"),
       NamesSemaphores() ? kRefused : kRefused | kTimedOut},
      {"hello-glued", "F9", "a hello with a second one behind it", accept,
       HelloOf(
           [] {
             std::vector<std::byte> bytes = HelloBytes();
             const std::vector<std::byte> more = HelloBytes();
             bytes.insert(bytes.end(), more.begin(), more.end());
             return bytes;
           },
           "two hellos in one message"),
       kRefused},
      {"hello-cut", "F9", "half a hello", accept,
       HelloOf(
           [] {
             std::vector<std::byte> bytes = HelloBytes();
             bytes.resize(bytes.size() / 2);
             return bytes;
           },
           "half a hello"),
       kRefused},
      {"hello-empty", "F10", "an empty message in place of a hello", accept,
       HelloOf([] { return std::vector<std::byte>(); }, "an empty message"),
       End::kRefused | End::kPeerGone},
      {"wake-up-empty", "F10", "an empty message among the wake-ups", accept, EmptyAfterReady,
       static_cast<uint32_t>(End::kPeerGone)},
      {"sockets-in-sockets", "F11", "sockets that hold each other, with the hello", late,
       SocketsInSockets, kRefused},
  };
}

}  // namespace parley::villain
