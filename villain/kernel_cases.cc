// SPDX-License-Identifier: Apache-2.0

// Rows K1 to K6: what the kernel does for the peer in our context. A call of ours that can't block
// may still last: it releases the last reference to a file of the peer's, walks a queue as long as
// the peer likes, or waits for a lock that the peer holds. docs/KERNEL.md has the list.

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "parley/ring/layout.h"
#include "parley/sealing/seals.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"
#include "parley/wait/layout.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint32_t kRefused = static_cast<uint32_t>(End::kRefused);
constexpr unsigned kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

// --- K1: files whose last reference is slow to go ------------------------------------------------

// A TCP socket with bytes that nobody takes and SO_LINGER: its release lasts `seconds`.
UniqueFd LingeringSocket(int seconds) {
  const int reader = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int small = 4096;
  ::setsockopt(reader, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  // SAFETY: bind, getsockname and connect take any address as a sockaddr.
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(reader, raw, size) != 0 || ::listen(reader, 1) != 0 ||
      ::getsockname(reader, raw, &size) != 0) {
    return UniqueFd();
  }
  UniqueFd writer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(writer.get(), raw, size) != 0) return UniqueFd();
  static_cast<void>(::accept4(reader, nullptr, nullptr, SOCK_CLOEXEC));  // never read
  const std::vector<char> junk(1 << 16);
  while (::send(writer.get(), junk.data(), junk.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  const linger slow = {1, seconds};
  ::setsockopt(writer.get(), SOL_SOCKET, SO_LINGER, &slow, sizeof(slow));
  return writer;
}

constexpr int kLingerSeconds = 2;

std::vector<UniqueFd> Lingering() {
  std::vector<UniqueFd> files;
  files.push_back(LingeringSocket(kLingerSeconds));
  return files;
}

// Memory that is given back page by page.
constexpr uint64_t kSlowMemory = uint64_t{1} << 30;
std::vector<UniqueFd> MuchMemory() {
  std::vector<UniqueFd> files;
  files.push_back(MakeMemfd(kSlowMemory, 0));
  return files;
}
std::string HasMuchMemory() {
  std::ifstream facts("/proc/meminfo");
  for (std::string name, unit; facts >> name;) {
    int64_t kb = 0;
    facts >> kb;
    std::getline(facts, unit);
    if (name == "MemAvailable:" && kb > static_cast<int64_t>(4 * kSlowMemory / 1024)) return "";
  }
  return "less than 4 GiB of memory to spare";
}

// Each packet socket waits, when it goes, until no processor can still see it. Any user has the
// privilege in a user namespace of its own; they are made in a child that shares our descriptors,
// so that we keep our own network, in which the victim listens.
bool OwnNetwork() { return ::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0; }
UniqueFd PacketSocket() {
  return UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
}
std::vector<UniqueFd> PacketSockets() {
  constexpr int kCount = 250;
  std::array<int, 2> told;
  std::vector<UniqueFd> files;
  if (::pipe2(told.data(), O_CLOEXEC) != 0) return files;
  const long child = ::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, 0);
  if (child == 0) {
    static_cast<void>(OwnNetwork());
    for (int i = 0; i < kCount; ++i) {
      const int fd = PacketSocket().Release();
      static_cast<void>(!::write(told[1], &fd, sizeof(fd)));
    }
    ::_exit(0);
  }
  for (int i = 0; i < kCount; ++i) {
    int fd = -1;
    if (::read(told[0], &fd, sizeof(fd)) == sizeof(fd)) files.emplace_back(fd);
  }
  int status = 0;
  ::waitpid(static_cast<pid_t>(child), &status, 0);
  ::close(told[0]);
  ::close(told[1]);
  return files;
}
std::string HasPacketSockets() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(OwnNetwork() && PacketSocket().ok() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? "" : "no packet socket for this user";
}

using MakeFiles = std::vector<UniqueFd> (*)();

// Sends them in one message, and keeps none. False if the kernel refuses that for the victim.
// NOLINTNEXTLINE(performance-unnecessary-value-param): it keeps none
bool SendAway(Attacker& a, int socket, std::vector<UniqueFd> files) {
  std::vector<int> numbers;
  for (const UniqueFd& fd : files) {
    if (!fd.ok()) a.CannotMount("no file with a slow release");
    numbers.push_back(fd.get());
  }
  return SendRaw(socket, "x", 1, numbers);
}

// Queued before the victim's accept: again and again, until one came in time.
AttackFunction ReleaseBeforeAccept(MakeFiles make) {
  return [=](Attacker& a) {
    std::vector<UniqueFd> files = make();
    std::vector<int> numbers;
    for (const UniqueFd& fd : files) {
      if (!fd.ok()) a.CannotMount("no file with a slow release");
      numbers.push_back(fd.get());
    }
    std::vector<UniqueFd> connections;
    int queued = 0;
    for (int i = 0; i < 400 && queued < 3; ++i) {
      UniqueFd socket = Dial(a);
      if (!socket.ok()) break;
      if (SendRaw(socket.get(), "x", 1, numbers)) ++queued;
      connections.push_back(std::move(socket));
      if (connections.size() > 8) connections.erase(connections.begin());
    }
    files.clear();
    a.Mounted(queued == 0 ? "the kernel refuses descriptors for the victim, each time"
                          : std::to_string(queued) + " messages queued, their files last");
    Attacker::Stay();
  };
}

AttackFunction ReleaseBeforeAdopt(MakeFiles make) {
  return [=](Attacker& a) {
    const bool sent = SendAway(a, a.socket.get(), make());
    a.Mounted(sent ? "queued a file whose release lasts" : "the kernel refuses to send it");
    Attacker::Stay();
  };
}

// On a finished channel, to the connecting side, which may be sent descriptors.
AttackFunction ReleaseOnDoorbells(MakeFiles make) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    if (!host.SendWelcome() || !host.Finish()) a.CannotMount("no channel");
    const bool first = SendAway(a, host.socket.fd(), make());
    a.Mounted(first ? "sent files whose release lasts, as wake-ups"
                    : "the kernel refuses to send them");
    Attacker::Stay();
  };
}

// With the last message of the handshake.
AttackFunction ReleaseWithReady(MakeFiles make) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    const bool sent = SendAway(a, host.socket.fd(), make());
    a.Mounted(sent ? "sent a file whose release lasts in place of \"ready\""
                   : "the kernel refuses to send it");
    Attacker::Stay();
  };
}

// --- K2: queues that each wake-up walks ----------------------------------------------------------

constexpr int kCrowd = 200'000;

void RaiseDescriptorLimit() {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// How many descriptors a process may have, as a hard limit that users have.
int PerProcess() {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 20'000)) - 200;
}

// `count` entries of epoll on the socket's queue, one for each duplicate of its descriptor; made by
// as many processes as it takes, which stay. How many there are.
int CrowdByEpoll(int socket, int count) {
  RaiseDescriptorLimit();
  std::array<int, 2> told;
  if (::pipe2(told.data(), O_CLOEXEC) != 0) return 0;
  const int each = PerProcess();
  int processes = 0;
  for (int left = count; left > 0; left -= each, ++processes) {
    if (::fork() != 0) continue;
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    int made = 0;
    for (; made < std::min(left, each); ++made) {
      const int copy = ::fcntl(socket, F_DUPFD_CLOEXEC, 10);
      epoll_event event = {};
      event.events = EPOLLIN | EPOLLET;
      if (copy < 0 || ::epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &event) != 0) break;
    }
    static_cast<void>(!::write(told[1], &made, sizeof(made)));
    Attacker::Stay();
  }
  int sum = 0;
  for (int made = 0; processes > 0; --processes) {
    if (::read(told[0], &made, sizeof(made)) == sizeof(made)) sum += made;
  }
  return sum;
}

// The same by poll alone, which every sandbox allows: the same descriptor any number of times. It
// is asked for what never comes, so that the sleepers stay where they are.
int CrowdByPoll(int socket, int count) {
  RaiseDescriptorLimit();
  const int each = PerProcess();
  int sum = 0;
  for (int left = count; left > 0; left -= each) {
    const int mine = std::min(left, each);
    if (::fork() != 0) {
      sum += mine;
      continue;
    }
    std::vector<pollfd> entries(static_cast<std::size_t>(mine), pollfd{socket, POLLPRI, 0});
    while (true) ::poll(entries.data(), entries.size(), -1);
  }
  ::usleep(100'000);
  return sum;
}

// Takes wake-ups, so that the next is sent, and claims to sleep at every moment.
[[noreturn]] void HaveItSignal(const RawPeer& peer) {
  std::array<char, 16> bytes;
  uint64_t tail = 0;
  for (uint64_t round = 1;; ++round) {
    for (const int doorbell : {peer.data_doorbell, peer.space_doorbell}) {
      while (doorbell >= 0 && ::recv(doorbell, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
      }
    }
    peer.own.Store(kReceiveEpochOffset, round);
    peer.own.Store(kSendEpochOffset, round);
    peer.Drain();
    // Something to take as well, so that it has free space to signal.
    if (tail - peer.theirs.Load(kHeadOffset) <= kRingBytes - 8) {
      peer.Data().Store(tail % kRingBytes, RecordWord(0, TagForSize(0)));
      tail += 8;
      peer.own.Store(kTailOffset, tail);
    }
    ::usleep(200);
  }
}

AttackFunction Crowd(int (*gather)(int socket, int count)) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    if (peer.space_doorbell < 0) a.CannotMount("no second doorbell");
    const int half = kCrowd / 2;
    const int first = gather(peer.space_doorbell, half);
    const int second = gather(peer.data_doorbell, half);
    if (first + second < kCrowd / 2) a.CannotMount("too small a crowd");
    a.Mounted(std::to_string(first + second) + " sleepers on the queues that each wake-up walks");
    HaveItSignal(peer);
  };
}

// --- K3: locks of sockets of which the peer has a copy -------------------------------------------

// A child that is inside of recv on `socket` for ever, and has its lock.
void HoldSocketLock(int socket, int flags) {
  if (::fork() != 0) return;
  void* page = PageThatNeverComes();
  while (page != nullptr) ::recv(socket, page, 1, flags);
  ::_exit(1);
}

// A socket that the peer made, offered as a doorbell, with a child inside of it.
AttackFunction OfferHeldSocket(int flags) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    auto pair = PeerSocket::Pair();
    if (!pair.ok()) a.CannotMount("no socket pair");
    HoldSocketLock(pair->second.fd(), flags);
    for (int i = 0; i < 4; ++i) ::send(pair->first.fd(), &kDataSignal, 1, MSG_NOSIGNAL);
    ::usleep(50'000);
    host.descriptors.push_back(std::move(pair->second).Release());
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    if (host.Finish()) a.Leaked("the victim took a socket that the peer had made and kept");
    a.Mounted("offers a socket whose lock it holds; refused");
    Attacker::Stay();
  };
}

// Whether somebody is inside of a receive on `socket`: a look that waits for nothing does not come
// back. The child that looks stays then.
bool IsSocketLocked(int socket) {
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    ::recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    ::_exit(0);
  }
  ::usleep(50'000);
  return ::waitpid(child, nullptr, WNOHANG) == 0;
}

// Its own end of the connection, with a child inside of it that takes the victim's first signal for
// ever, so that nobody can take the next ones; and it claims to sleep, until no more fit.
void HoldOwnEnd(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  if (!host.SendWelcome() || !host.Finish()) a.CannotMount("no channel");
  host.theirs = MapShared(a, host.descriptors[1].get(),
                          kControlBytes + host.welcome.send.capacity_bytes, false);
  HoldSocketLock(host.socket.fd(), 0);
  const uint64_t ring_bytes = host.welcome.receive.capacity_bytes;
  uint64_t tail = 0;
  constexpr int kFullQueue = 64;
  int unread = 0;
  int64_t grown_ns = MonotonicNowNs();
  bool mounted = false;
  for (uint64_t round = 1;; ++round) {
    host.own.Store(kReceiveEpochOffset, round);
    host.own.Store(kSendEpochOffset, round);
    host.own.Store(kHeadOffset, host.theirs.Load(kTailOffset));
    if (tail - host.theirs.Load(kHeadOffset) <= ring_bytes - 8) {
      host.own.Store(kControlBytes + tail % ring_bytes, RecordWord(0, TagForSize(0)));
      tail += 8;
      host.own.Store(kTailOffset, tail);
    }
    ::send(host.socket.fd(), &kDataSignal, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    ::usleep(200);
    if (mounted) continue;
    int now_unread = 0;
    ::ioctl(host.socket.fd(), SIOCINQ, &now_unread);
    if (now_unread > unread) grown_ns = MonotonicNowNs();
    unread = std::max(unread, now_unread);
    // A queue of a few may be that of a careless victim which had no processor meanwhile. One that
    // is not signals less.
    const int64_t still_ns = unread < kFullQueue && !a.confine ? 3'000'000'000 : 100'000'000;
    if (MonotonicNowNs() - grown_ns < still_ns) continue;
    if (!IsSocketLocked(host.socket.fd())) a.CannotMount("nobody holds the lock");
    a.Mounted("holds the lock of its own end; " + std::to_string(unread) + " signals lie there");
    mounted = true;
  }
}

// --- K4: the garbage collector of sockets --------------------------------------------------------

// Cycles of sockets in flight, closed all the time: before Linux 6.9 each send waits for the
// collector.
void FeedCollector(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  RaiseDescriptorLimit();
  for (int i = 0; i < 2; ++i) {
    if (::fork() != 0) continue;
    while (true) {
      std::vector<int> open;
      for (int k = 0; k < 400; ++k) {
        std::array<int, 2> pair;
        if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair.data()) != 0) break;
        SendRaw(pair[0], "x", 1, {pair[0], pair[1]});
        SendRaw(pair[1], "x", 1, {pair[0], pair[1]});
        open.insert(open.end(), pair.begin(), pair.end());
      }
      for (const int fd : open) ::close(fd);
    }
  }
  a.Mounted("makes and drops cycles of sockets without end");
  HaveItSignal(peer);
}

// --- K5: pages that are missing when all was verified --------------------------------------------

// The region that the victim writes to, with its pages taken away, and as many beyond its end that
// hide it from a count.
AttackFunction MissingPages(bool hidden, bool while_it_looks) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    const auto bytes = static_cast<off_t>(kControlBytes + host.welcome.send.capacity_bytes);
    host.descriptors[1] = MakeMemfd(static_cast<uint64_t>(bytes), 0);
    const int fd = host.descriptors[1].get();
    const auto take_away = [=] {
      return ::fallocate(fd, static_cast<int>(kPunch), 4096, bytes - 4096) == 0;
    };
    // Before GROW is sealed.
    if (hidden) ::fallocate(fd, FALLOC_FL_KEEP_SIZE, bytes, bytes - 4096);
    take_away();
    ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    if (while_it_looks && ::fork() == 0) {
      while (take_away()) {
      }
      ::_exit(0);
    }
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    const bool mapped = host.Finish();
    if (mapped && ::lseek(fd, 0, SEEK_HOLE) < bytes) {
      a.Leaked("the victim took a region whose pages are missing");
    }
    struct stat facts = {};
    ::fstat(fd, &facts);
    if (mapped && facts.st_blocks > bytes / 512) a.Leaked("the victim took pages beyond the end");
    a.Mounted(mapped ? "took pages away, and the victim put all of them back"
                     : "took pages away; refused");
    Attacker::Stay();
  };
}

// --- K6: seals that nobody asked for -------------------------------------------------------------

AttackFunction DraftSealed(unsigned seals) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    const uint64_t bytes = kControlBytes + host.welcome.send.capacity_bytes;
    host.descriptors[1] = MakeMemfd(bytes, F_SEAL_SHRINK | F_SEAL_GROW | seals);
    if (!host.descriptors[1].ok() || !host.SendWelcome()) a.CannotMount("welcome not sent");
    if (host.Finish()) a.Leaked("the victim took a draft with a seal that it did not ask for");
    a.Mounted("sent a draft with a seal that nobody asked for");
    Attacker::Stay();
  };
}

// --- K7: walks over all mappings of a page, and pages that are not there -------------------------

// As many mappings of both regions as processes may have, and page-outs, each of which walks them.
AttackFunction PageOut(int processes, int mappings_each) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    for (int i = 0; i < processes; ++i) {
      if (::fork() != 0) continue;
      for (int k = 0; k < mappings_each; ++k) {
        const int fd = peer.descriptors[static_cast<std::size_t>(k % 2)].get();
        char* page = static_cast<char*>(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
        if (page == MAP_FAILED) break;
        static_cast<void>(*static_cast<volatile char*>(page));
      }
      Attacker::Stay();
    }
    ::usleep(100'000);
    int refused = 0;
    for (const Words& words : {peer.theirs, peer.own}) {
      if (::madvise(words.address(), words.size_bytes(), MADV_PAGEOUT) != 0) ++refused;
    }
    a.Mounted("pages both regions out, again and again, under " +
              std::to_string(processes * mappings_each) + " mappings" +
              (refused == 2 ? "; the kernel refuses" : ""));
    if (::fork() == 0) {
      while (true) {
        for (const Words& words : {peer.theirs, peer.own}) {
          ::madvise(words.address(), words.size_bytes(), MADV_PAGEOUT);
        }
      }
    }
    HaveItSignal(peer);
  };
}

}  // namespace

std::vector<Case> KernelCases() {
  VictimSetup listener;
  listener.kind = VictimKind::kListener;
  VictimSetup late;
  late.late = true;
  late.foreign_pair = true;  // a pair of our own refuses descriptors from the start
  late.handshake = absl::Milliseconds(500);
  VictimSetup connect;
  connect.kind = VictimKind::kConnect;
  VictimSetup hurried = connect;
  hurried.handshake = absl::Milliseconds(500);
  VictimSetup tries;
  tries.style = Style::kTry;
  tries.attack_time = absl::Seconds(2);
  VictimSetup spared = tries;
  spared.signaller = true;
  VictimSetup loop = tries;
  loop.style = Style::kEventLoop;
  constexpr uint32_t kAny = End::kServed | End::kPoisoned;
  constexpr uint32_t kNothing = End::kRefused | End::kPeerGone | End::kTimedOut;
  constexpr uint32_t kEnds = End::kServed | End::kPoisoned | End::kPeerGone;
  return {
      {"slow-release-tcp", "K1", "a lingering socket queued before our accept", listener,
       ReleaseBeforeAccept(&Lingering), kServed},
      {"slow-release-memory", "K1", "a gibibyte of memory queued before our accept", listener,
       ReleaseBeforeAccept(&MuchMemory), kServed, HasMuchMemory, "4 GiB of memory"},
      {"slow-release-packet", "K1", "250 packet sockets queued before our accept", listener,
       ReleaseBeforeAccept(&PacketSockets), kServed, HasPacketSockets, "packet sockets"},
      {"slow-release-adopted", "K1", "a lingering socket queued before a socket is adopted", late,
       ReleaseBeforeAdopt(&Lingering), kNothing},
      {"slow-release-wake-up", "K1", "a lingering socket as a wake-up of a finished channel",
       connect, ReleaseOnDoorbells(&Lingering), kEnds},
      {"slow-release-wake-up-packet", "K1", "250 packet sockets as a wake-up", connect,
       ReleaseOnDoorbells(&PacketSockets), kEnds, HasPacketSockets, "packet sockets"},
      {"slow-release-ready", "K1", "a lingering socket in place of \"ready\"", hurried,
       ReleaseWithReady(&Lingering), kNothing},
      {"crowd-epoll", "K2", "200,000 epoll entries on our doorbells; a caller of Try calls alone",
       tries, Crowd(&CrowdByEpoll), kAny},
      {"crowd-poll", "K2", "the same by poll alone", tries, Crowd(&CrowdByPoll), kAny},
      {"crowd-event-loop", "K2", "the same against an event loop", loop, Crowd(&CrowdByEpoll),
       kAny},
      {"crowd-signaller", "K2", "the same against a caller whose signals another thread makes",
       spared, Crowd(&CrowdByEpoll), kAny},
      {"held-doorbell", "K3", "the lock of a socket that the peer made for us", connect,
       OfferHeldSocket(0), kRefused, HasUserfaultfd, "userfaultfd"},
      {"held-doorbell-peek", "K3", "the same by a look that takes nothing", connect,
       OfferHeldSocket(MSG_PEEK), kRefused, HasUserfaultfd, "userfaultfd"},
      {"held-own-end", "K3", "the lock of the peer's own end of the connection", connect,
       HoldOwnEnd, kEnds, HasUserfaultfd, "userfaultfd"},
      {"garbage-collector", "K4", "cycles of sockets in flight, without end", tries, FeedCollector,
       kAny},
      {"pages-missing", "K5", "our outgoing region without its pages", connect,
       MissingPages(false, false), kServed | kRefused},
      {"pages-missing-hidden", "K5", "the same, and pages beyond the end", connect,
       MissingPages(true, false), kServed | kRefused},
      {"pages-taken-away", "K5", "pages taken away while they are looked at", connect,
       MissingPages(true, true), kServed | kRefused},
      {"draft-sealed-executable", "K6", "a draft with F_SEAL_EXEC", connect,
       DraftSealed(F_SEAL_EXEC), kRefused},
      {"draft-sealed-for-good", "K6", "a draft with F_SEAL_SEAL", connect, DraftSealed(F_SEAL_SEAL),
       kRefused},
      {"pages-out", "K7", "both regions paged out, again and again", tries, PageOut(1, 2), kAny},
      {"mapping-crowd", "K7", "the same under 60,000 mappings of the regions", tries,
       PageOut(2, 30'000), kAny},
  };
}

}  // namespace parley::villain
