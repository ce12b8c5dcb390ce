// SPDX-License-Identifier: Apache-2.0

// Rows M1 to M15: what can be wrong with a memory object, and what its other holder can do to it.

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/openat2.h>
#include <linux/udmabuf.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/sealing/seals.h"
#include "parley/villain/case.h"
#include "parley/villain/hijacked.h"
#include "parley/villain/raw_peer.h"

namespace parley::villain {
namespace {

constexpr uint32_t kRefused = static_cast<uint32_t>(End::kRefused);
constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr unsigned kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr uint64_t kFileBytes = kControlBytes + kRingBytes;

VictimSetup Against(VictimKind kind) {
  VictimSetup setup;
  setup.kind = kind;
  return setup;
}

// Hands a connecting victim `make()` as the region that it reads (0) or writes (1).
AttackFunction RegionOf(std::size_t which, const std::function<UniqueFd(Attacker&)>& make,
                        const char* what) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    host.descriptors[which] = make(a);
    if (!host.descriptors[which].ok()) a.CannotMount(std::string("cannot make ") + what);
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    const bool mapped = host.Finish();
    // Should it have been believed: pull the memory away.
    const bool cut = ::ftruncate(host.descriptors[which].get(), 0) == 0;
    a.Mounted(std::string("offered ") + what + (mapped ? ", which was taken" : "") +
              (cut ? "; cut it to nothing" : ""));
    Attacker::Stay();
  };
}

AttackFunction RegionWithSeals(unsigned seals) {
  return RegionOf(
      0, [=](Attacker&) { return MakeMemfd(kFileBytes, seals); }, "a region that lacks a seal");
}

UniqueFd Path(const char* path, int flags) {
  return UniqueFd(::open(path, flags | O_CLOEXEC, 0600));
}

// Sends a blob reader one descriptor, then does `after` to it for ever.
AttackFunction BlobOf(const std::function<UniqueFd(Attacker&)>& make, const char* what,
                      const std::function<void(Attacker&, int)>& after = nullptr) {
  return [=](Attacker& a) {
    const UniqueFd fd = make(a);
    if (!fd.ok()) a.CannotMount(std::string("cannot make ") + what);
    if (!SendRaw(a.socket.get(), "b", 1, {fd.get()})) a.CannotMount("not sent");
    a.Mounted(std::string("offered ") + what);
    if (after) after(a, fd.get());
    Attacker::Stay();
  };
}

std::string HasHugePages() {
  const UniqueFd fd(::memfd_create("parley", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
  return fd.ok() ? "" : "no huge pages in this kernel";
}

// Tries all that the holder of a finished region can try; what must not have worked is a leak.
void PullAtRegions(Attacker& a, const RawPeer& peer, bool once) {
  const int theirs = peer.descriptors[0].get();
  const int own = peer.descriptors[1].get();
  // NOLINTNEXTLINE(bugprone-infinite-loop): until it is killed, if not once
  do {
    PullAt(a, theirs, peer.theirs);
    if (::ftruncate(own, 0) == 0) a.Leaked("cut its own region");
    if (::fallocate(own, kPunch, 0, 4096) == 0) a.Leaked("punched its own region");
    if (::madvise(peer.own.address(), 4096, MADV_REMOVE) == 0) a.Leaked("removed its own pages");
    a.Mounted("no resize, hole, write or writable mapping got through");
  } while (!once);
}

void PullForEver(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  PullAtRegions(a, peer, false);
}

// Without the final seal the writer's region can be cut; says "mapped" all the same.
void UnsealedThenCut(Attacker& a) {
  RawPeer::Plan plan;
  plan.seal = false;
  const RawPeer peer = RawPeer::Connect(a, plan);
  const int own = peer.descriptors[1].get();
  a.Mounted("said \"mapped\" without sealing, and punches holes in a loop");
  while (true) {
    static_cast<void>(!::ftruncate(own, 0));
    ::fallocate(own, kPunch, 0, 4096);
    ::madvise(peer.own.address(), 4096, MADV_REMOVE);
  }
}

void HoleBeforeSeal(Attacker& a) {
  RawPeer::Plan plan;
  plan.before_seal = [&](RawPeer& peer) {
    if (::fallocate(peer.descriptors[1].get(), kPunch, 4096, 4096) != 0) {
      a.CannotMount("no hole");
    }
    a.Mounted("punched a hole, then sealed");
  };
  RawPeer::Connect(a, plan);
}

void LateSeals(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  for (const int fd : {peer.descriptors[0].get(), peer.descriptors[1].get()}) {
    for (const int seal : {F_SEAL_WRITE, F_SEAL_EXEC, F_SEAL_SHRINK}) {
      if (::fcntl(fd, F_ADD_SEALS, seal) == 0) a.Leaked("added a seal to a finished region");
    }
  }
  a.Mounted("no seal could be added any more");
  Attacker::Stay();
}

void MakeExecutable(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  const int theirs = peer.descriptors[0].get();
  struct stat facts = {};
  ::fstat(theirs, &facts);
  if ((facts.st_mode & 0111) != 0) a.Leaked("the victim's memfd is executable");
  if (::fchmod(theirs, 0777) == 0 && ::fcntl(theirs, F_ADD_SEALS, F_SEAL_EXEC) == 0) {
    a.Leaked("made it executable and sealed it so");
  }
  a.Mounted("the victim's memfd stays as it is");
  Attacker::Stay();
}

void TakeLease(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  ::signal(SIGIO, SIG_IGN);  // what a lease's holder gets when it is to be given up
  int leases = 0;
  for (const UniqueFd& fd : peer.descriptors) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
    const int reopened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (reopened < 0) continue;
    for (const int kind : {F_RDLCK, F_WRLCK}) {
      if (::fcntl(reopened, F_SETLEASE, kind) == 0) ++leases;
    }
    if (::flock(reopened, LOCK_EX | LOCK_NB) == 0) ++leases;
  }
  a.Mounted("holds " + std::to_string(leases) + " leases and locks on the regions");
  Attacker::Stay();
}

void SameMemfdTwice(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  host.descriptors[0] = MakeMemfd(kFileBytes, F_SEAL_SHRINK | F_SEAL_GROW);
  host.descriptors[1].Reset(::dup(host.descriptors[0].get()));
  ::fcntl(host.descriptors[0].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
  if (!host.SendWelcome()) a.CannotMount("welcome not sent");
  a.Mounted("sent one memfd as both regions");
  Attacker::Stay();
}

// What a fork or a core dump of the victim would contain, by the kernel's word.
void ReadVmFlags(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  std::ifstream smaps("/proc/" + std::to_string(a.victim_pid) + "/smaps");
  bool in_region = false;
  int regions = 0;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find('-') == line.find_first_not_of("0123456789abcdef")) {
      in_region = line.find("memfd:") != std::string::npos;
    }
    if (!in_region || line.rfind("VmFlags:", 0) != 0) continue;
    ++regions;
    if (line.find(" dc") == std::string::npos) a.Leaked("a fork inherits the region");
    if (line.find(" dd") == std::string::npos) a.Leaked("a core dump contains the region");
  }
  if (regions == 0) a.CannotMount("the victim's smaps show no region");
  a.Mounted(std::to_string(regions) + " mappings, none inherited or dumped");
  Attacker::Stay();
}

void HoldInodeLock(Attacker& a, int fd) {
  const bool held = TryToHoldInodeLock(fd);
  a.Mounted(held ? "holds the inode's lock in a pwrite that never ends"
                 : "a write to a sealed file is refused before it could hold anything");
}

// A blob that is held while it is looked at: whole where that can be, else one that lacks the seal
// against writes, and so may not even be asked for its holes.
void LockOnBlob(Attacker& a) {
  UniqueFd fd = MakeMemfd(65536, kBlobSeals);
  bool held = TryToHoldInodeLock(fd.get());
  if (!held) {
    fd = MakeMemfd(65536, kBlobSeals & ~unsigned{F_SEAL_WRITE});
    held = TryToHoldInodeLock(fd.get());
  }
  if (!held) a.CannotMount("the inode's lock is not held");
  a.Mounted("holds the inode's lock in a pwrite that never ends");
  if (!SendRaw(a.socket.get(), "b", 1, {fd.get()})) a.CannotMount("not sent");
  Attacker::Stay();
}

void LockBeforeMapped(Attacker& a) {
  RawPeer::Plan plan;
  plan.seal = false;
  plan.before_mapped = [&](RawPeer& peer) { HoldInodeLock(a, peer.descriptors[1].get()); };
  RawPeer::Connect(a, plan);
}

void LockAfterSealing(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  HoldInodeLock(a, peer.descriptors[1].get());
  HoldInodeLock(a, peer.descriptors[0].get());
  Attacker::Stay();
}

void LockAgainstConnector(Attacker& a) {
  const RawHost host = RawHost::Prepare(a);
  HoldInodeLock(a, host.descriptors[1].get());
  if (!host.SendWelcome()) a.CannotMount("welcome not sent");
  Attacker::Stay();
}

// Row M15. Before Linux 6.13 /dev/udmabuf gives its user a writable mapping of a sealed memfd. What
// that amounts to, whatever the device says here: somebody else writes to the region that the
// victim sends from. /proc/PID/mem does the same to the same pages on every kernel.

struct Place {
  off_t address = 0;
  std::size_t size_bytes = 0;
};

// Where the victim has mapped `fd`'s file writable.
std::vector<Place> WritableMappingsOf(int fd, pid_t victim) {
  struct stat facts = {};
  ::fstat(fd, &facts);
  std::vector<Place> places;
  std::ifstream maps("/proc/" + std::to_string(victim) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    off_t begin = 0;
    off_t end = 0;
    char dash = 0;
    std::string mode;
    std::string offset;
    std::string device;
    ino_t inode = 0;
    fields >> std::hex >> begin >> dash >> end >> mode >> offset >> device >> std::dec >> inode;
    if (inode != facts.st_ino || mode.find('w') == std::string::npos) continue;
    places.push_back({begin, static_cast<std::size_t>(end - begin)});
  }
  return places;
}

UniqueFd OpenMemoryOf(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/mem";
  return UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
}

void WriteAsUdmabufWould(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  const std::vector<Place> places = WritableMappingsOf(peer.descriptors[0].get(), a.victim_pid);
  const UniqueFd memory = OpenMemoryOf(a.victim_pid);
  if (places.empty() || !memory.ok()) a.CannotMount("no way into the victim's own region");
  std::minstd_rand random(1);
  uint64_t tail = 0;
  for (uint64_t round = 1;; ++round) {
    const Place& place = places[round % places.size()];
    const std::array<uint64_t, 4> words = {random(), ~uint64_t{0}, uint64_t{random()} << 32,
                                           peer.theirs.Load(kTailOffset) + 8};
    const std::size_t at = random() % (place.size_bytes / 8) * 8;
    // The control page more often than chance has it.
    const std::size_t where = round % 4 == 0 ? at : at % 512;
    if (::pwrite(memory.get(), &words[random() % words.size()], 8,
                 place.address + static_cast<off_t>(where)) != 8) {
      a.CannotMount("the victim's own region cannot be written to");
    }
    if (round == 1) a.Mounted("writes to the region that only the victim should write to");
    if (round % 64 != 0) continue;
    // Honest in its own region, for one ring full: how much was taken can't be read any more.
    if (tail <= kRingBytes - 16) {
      peer.Data().Store(tail % kRingBytes, RecordWord(0, TagForSize(0)));
      tail += 8;
      peer.own.Store(kTailOffset, tail);
      // Whether it waits can't be read any more either: as often as does no harm.
      if (round % 4096 == 0) peer.RingData();
    }
    ::usleep(100);
  }
}

std::string HasNoexecMemfds() {
  constexpr unsigned kNoexecSeal = 8;
  const UniqueFd fd(::memfd_create("parley", MFD_CLOEXEC | kNoexecSeal));
  return fd.ok() ? "" : "no MFD_NOEXEC_SEAL (before Linux 6.3)";
}

std::string MayWriteToOthers() {
  const pid_t other = ::fork();
  if (other == 0) {
    while (true) ::pause();
  }
  const pid_t writer = ::fork();
  if (writer == 0) ::_exit(OpenMemoryOf(other).ok() ? 0 : 1);
  int status = 0;
  ::waitpid(writer, &status, 0);
  ::kill(other, SIGKILL);
  ::waitpid(other, nullptr, 0);
  return status == 0 ? "" : "this user may not write to another process's memory";
}

std::vector<Attempt> OpenUdmabuf() {
  static constexpr const char* kDevice = "/dev/udmabuf";
  return {
#if defined(SYS_open)
      {"open", [](const Hands&) { return ::syscall(SYS_open, kDevice, O_RDWR); }},
#endif
      {"openat", [](const Hands&) { return ::syscall(SYS_openat, AT_FDCWD, kDevice, O_RDWR); }},
      {"openat2",
       [](const Hands&) {
         open_how how = {};
         how.flags = O_RDWR;
         return ::syscall(SYS_openat2, AT_FDCWD, kDevice, &how, sizeof(how));
       }},
      // On a descriptor that it was given before, which is none of the device here.
      {"ioctl",
       [](const Hands& h) {
         udmabuf_create create = {};
         create.memfd = static_cast<uint32_t>(h.peer.descriptors[0].get());
         create.size = 4096;
         return ::syscall(SYS_ioctl, h.file, UDMABUF_CREATE, &create);
       }},
  };
}

}  // namespace

std::vector<Case> MemoryCases() {
  VictimSetup listener = Against(VictimKind::kListener);
  listener.ours = true;
  const VictimSetup accept = Against(VictimKind::kAccept);
  const VictimSetup connect = Against(VictimKind::kConnect);
  const VictimSetup blob = Against(VictimKind::kBlob);
  VictimSetup hurried = connect;
  hurried.handshake = absl::Milliseconds(800);
  hurried.max_helpers = 1;
  const auto flawed = [](VictimSetup setup, Flaw flaw) {
    setup.flaw = flaw;
    return setup;
  };
  const auto plain = [](uint64_t size, unsigned seals) {
    return [=](Attacker&) { return MakeMemfd(size, seals); };
  };
  return {
      {"region-can-shrink", "M1", "a region without F_SEAL_SHRINK, cut after it was mapped",
       connect, RegionWithSeals(F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL), kRefused},
      {"unsealed-then-cut", "M1", "its own region, not sealed, cut after \"mapped\"", accept,
       UnsealedThenCut, kRefused},
      {"blob-can-shrink", "M1", "a blob without seals, cut while it is read", blob,
       BlobOf(plain(65536, 0), "a blob without seals",
              [](Attacker&, int fd) {
                ::usleep(20'000);
                static_cast<void>(!::ftruncate(fd, 0));
              }),
       kRefused},
      {"pull-at-regions", "M2", "resize, punch, write, remap both finished regions, for ever",
       accept, PullForEver, kServed},
      {"hole-before-seal", "M2", "a hole punched before the region is sealed", accept,
       HoleBeforeSeal, kRefused},
      {"blob-rewritten", "M3", "a blob that can be written to, rewritten while it is read", blob,
       BlobOf(plain(65536, F_SEAL_SHRINK | F_SEAL_GROW), "a blob that can be written to",
              [](Attacker&, int fd) {
                for (uint64_t i = 0;; ++i) {
                  static_cast<void>(
                      !::pwrite(fd, &i, sizeof(i), static_cast<off_t>(8 * (i % 8192))));
                }
              }),
       kRefused},
      {"huge-page-region", "M4", "a region of huge pages with all seals", connect,
       RegionOf(
           0, [](Attacker&) { return MakeMemfd(2 << 20, kRegionSeals, true, MFD_HUGETLB); },
           "a region of huge pages"),
       kRefused, HasHugePages, "huge pages"},
      {"huge-page-blob", "M4", "a blob of huge pages that are missing: a SIGBUS", blob,
       BlobOf([](Attacker&) { return MakeMemfd(2 << 20, kBlobSeals, true, MFD_HUGETLB); },
              "a blob of huge pages"),
       kRefused, HasHugePages, "huge pages"},
      {"region-too-short", "M5", "a region one page shorter than announced", connect,
       RegionOf(0, plain(kFileBytes - 4096, kRegionSeals), "a short region"), kRefused},
      {"region-too-long", "M5", "a region one page longer than announced", connect,
       RegionOf(1, plain(kFileBytes + 65536, F_SEAL_SHRINK | F_SEAL_GROW), "a long region"),
       kRefused},
      {"blob-monstrous", "M5", "a sealed blob of a tebibyte", blob,
       BlobOf([](Attacker&) { return MakeMemfd(uint64_t{1} << 40, kBlobSeals, true); },
              "a tebibyte"),
       kRefused},
      {"seals-come-later", "M6", "a region whose seals are not sealed", connect,
       RegionWithSeals(kRegionSeals & ~SealSet{F_SEAL_SEAL}), kRefused},
      {"late-seals", "M6", "seals added to a finished region", accept, LateSeals, kServed},
      {"make-executable", "M7", "the victim's memfd made executable and sealed so", accept,
       MakeExecutable, kServed, HasNoexecMemfds, "memfds that cannot be made executable"},
      {"reopen-writable", "M8", "the victim's region reopened read-write through /proc", accept,
       [](Attacker& a) {
         const RawPeer peer = RawPeer::Connect(a);
         PullAtRegions(a, peer, true);
         Attacker::Stay();
       },
       kServed},
      {"region-is-pipe", "M9", "a pipe in place of a region", connect,
       RegionOf(
           0,
           [](Attacker&) {
             std::array<int, 2> ends = {-1, -1};
             static_cast<void>(::pipe2(ends.data(), O_CLOEXEC));
             return UniqueFd(ends[0]);
           },
           "a pipe"),
       kRefused},
      {"region-is-device", "M9", "/dev/zero in place of a region", connect,
       RegionOf(
           1, [](Attacker&) { return Path("/dev/zero", O_RDWR); }, "/dev/zero"),
       kRefused},
      {"region-is-directory", "M9", "a directory in place of a region", connect,
       RegionOf(
           0, [](Attacker&) { return Path("/", O_RDONLY | O_DIRECTORY); }, "a directory"),
       kRefused},
      {"blob-is-file", "M9", "a file of tmpfs in place of a blob, cut while it is read", blob,
       BlobOf(
           [](Attacker&) {
             UniqueFd fd = Path("/dev/shm", O_TMPFILE | O_RDWR);
             if (!fd.ok() || ::ftruncate(fd.get(), 65536) != 0) fd.Reset();
             return fd;
           },
           "a file of tmpfs",
           [](Attacker&, int fd) {
             ::usleep(20'000);
             static_cast<void>(!::ftruncate(fd, 0));
           }),
       kRefused},
      {"region-sparse", "M10", "a region whose pages the reader would pay for", connect,
       RegionOf(
           0, [](Attacker&) { return MakeMemfd(kFileBytes, kRegionSeals, true); },
           "a sparse region"),
       kRefused},
      {"blob-hidden-hole", "M10", "a hole, hidden from a count by pages beyond the end", blob,
       BlobOf(
           [](Attacker&) {
             UniqueFd fd = MakeMemfd(65536, 0);
             ::fallocate(fd.get(), kPunch, 8192, 4096);
             ::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 65536, 4096);
             ::fcntl(fd.get(), F_ADD_SEALS, kBlobSeals);
             return fd;
           },
           "a blob with a hidden hole"),
       kRefused},
      {"lease", "M11", "leases and locks on the regions", flawed(accept, Flaw::kLocksFile),
       TakeLease, kServed},
      {"same-memfd-twice", "M12", "one memfd as both regions", connect, SameMemfdTwice, kRefused},
      {"fork-and-dump", "M13", "the region in a child or a core dump of the victim", accept,
       ReadVmFlags, kServed},
      {"lock-before-mapped", "M14", "the inode's lock held when \"mapped\" is said", accept,
       LockBeforeMapped, kRefused, HasUserfaultfd, "userfaultfd"},
      {"lock-after-sealing", "M14", "the inode's locks held for ever, after the handshake",
       flawed(accept, Flaw::kAsksForHoles), LockAfterSealing, kServed, HasUserfaultfd,
       "userfaultfd"},
      {"lock-against-connector", "M14", "the inode's lock held while the victim has to seal",
       hurried, LockAgainstConnector, static_cast<uint32_t>(End::kTimedOut), HasUserfaultfd,
       "userfaultfd"},
      {"lock-on-blob", "M14", "the inode's lock held while the blob is adopted",
       flawed(blob, Flaw::kAsksForHoles), LockOnBlob, End::kServed | End::kRefused, HasUserfaultfd,
       "userfaultfd"},
      {"udmabuf-from-inside", "M15", "/dev/udmabuf opened and used by a hijacked worker", listener,
       FromInside(OpenUdmabuf()), kServed, CanBeConfined},
      {"udmabuf-writes", "M15", "what /dev/udmabuf is good for: another writer of our own region",
       flawed(accept, Flaw::kReadsBack), WriteAsUdmabufWould, static_cast<uint32_t>(End::kServed),
       MayWriteToOthers, "access to other processes' memory"},
  };
}

}  // namespace parley::villain
