// SPDX-License-Identifier: Apache-2.0

// Rows S1 to S4: signals, and the ways around a system call filter, each tried by a worker of ours
// that was taken over after its lock-down.

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/memfd.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/sandbox/confine.h"
#include "parley/villain/case.h"
#include "parley/villain/hijacked.h"
#include "parley/villain/lateness.h"
#include "parley/villain/process.h"
#include "parley/villain/raw_peer.h"
#include "parley/villain/victims.h"
#include "parley/wait/layout.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);

// In every process of the villain at the same address, the victim's included.
std::atomic<uint64_t> word_everywhere = 0;
uint32_t futex_words[2] = {};

// On both of the worker's sockets; the first answer that is none counts.
template <typename Call>
long OnBothSockets(const Hands& h, Call call) {
  const long first = call(h.peer.data_doorbell);
  return first < 0 ? first : call(h.peer.space_doorbell);
}

Attempt Fcntl(int command, const std::function<long(const Hands&)>& value) {
  return {"fcntl", [=](const Hands& h) {
            return OnBothSockets(
                h, [&](int fd) { return ::syscall(SYS_fcntl, fd, command, value(h)); });
          }};
}

Attempt Fcntl(int command, long value) {
  return Fcntl(command, [=](const Hands&) { return value; });
}

// `ioctl` with the address of a number.
Attempt Ioctl(unsigned long command, const std::function<int(const Hands&)>& number) {
  return {"ioctl", [=](const Hands& h) {
            int argument = number(h);
            return OnBothSockets(
                h, [&](int fd) { return ::syscall(SYS_ioctl, fd, command, &argument); });
          }};
}

int VictimOf(const Hands& h) { return h.victim_pid; }
int One(const Hands&) { return 1; }

// The victim becomes the owner of the worker's sockets; events on these are a signal to it.
const Attempt kOwn = Fcntl(F_SETOWN, [](const Hands& h) { return long{h.victim_pid}; });
const Attempt kOwnEx = {"fcntl", [](const Hands& h) {
                          f_owner_ex owner = {F_OWNER_PID, h.victim_pid};
                          return OnBothSockets(h, [&](int fd) {
                            return ::syscall(SYS_fcntl, fd, F_SETOWN_EX, &owner);
                          });
                        }};
const Attempt kKillBySignal = Fcntl(F_SETSIG, SIGKILL);
const Attempt kAsync = Fcntl(F_SETFL, O_ASYNC | O_RDWR);

std::vector<Attempt> KillDirectly() {
  return {
      {"kill", [](const Hands& h) { return ::syscall(SYS_kill, h.victim_pid, SIGKILL); }},
      {"tgkill",
       [](const Hands& h) { return ::syscall(SYS_tgkill, h.victim_pid, h.victim_pid, SIGKILL); }},
      {"pidfd_send_signal", [](const Hands& h) {
         return ::syscall(SYS_pidfd_send_signal, h.victim_pidfd, SIGKILL, nullptr, 0);
       }}};
}

// A child that a fork gave us has nothing to do here.
long EndIfChild(long pid) {
  if (pid == 0) ::_exit(0);
  return pid;
}

std::vector<Attempt> NewProcesses() {
  return {{"clone3",
           [](const Hands&) {
             clone_args arguments = {};
             arguments.exit_signal = SIGCHLD;
             return EndIfChild(::syscall(SYS_clone3, &arguments, sizeof(arguments)));
           }},
          {"clone",
           [](const Hands&) {
             return EndIfChild(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
           }},
#if defined(SYS_fork)
          {"fork", [](const Hands&) { return EndIfChild(::syscall(SYS_fork)); }}
#endif
  };
}

// `fourth`: a count, or a time limit's address.
std::vector<Attempt> Futexes(std::initializer_list<int> operations, long fourth) {
  std::vector<Attempt> attempts;
  for (const int operation : operations) {
    attempts.push_back({"futex", [=](const Hands&) {
                          return ::syscall(SYS_futex, &futex_words[0], operation, 1, fourth,
                                           &futex_words[1], 0L);
                        }});
  }
  return attempts;
}

std::vector<Attempt> VictimsMemory() {
  const auto access = [](long number) {
    return [=](const Hands& h) {
      uint64_t word = 0;
      const iovec local = {&word, sizeof(word)};
      const iovec remote = {&word_everywhere, sizeof(word)};
      return ::syscall(number, h.victim_pid, &local, 1, &remote, 1, 0L);
    };
  };
  return {{"process_vm_readv", access(SYS_process_vm_readv)},
          {"process_vm_writev", access(SYS_process_vm_writev)}};
}

std::vector<Attempt> Perf() {
  return {{"perf_event_open", [](const Hands& h) {
             perf_event_attr attributes = {};
             attributes.size = sizeof(attributes);
             attributes.type = PERF_TYPE_SOFTWARE;
             attributes.config = PERF_COUNT_SW_TASK_CLOCK;
             return ::syscall(SYS_perf_event_open, &attributes, h.victim_pid, -1, -1, 0);
           }}};
}

std::vector<Attempt> Mounts() {
  return {{"unshare", [](const Hands&) { return ::syscall(SYS_unshare, CLONE_NEWNS); }},
          {"mount", [](const Hands&) {
             return ::syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
           }}};
}

template <typename Make>
std::vector<Attempt> Only(const char* call, Make make) {
  return {{call, make}};
}

// ---- S3.

bool UnderFilter(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line == "Seccomp:\t2") return true;
  }
  return false;
}

// In a wait, and not just about to run.
bool Asleep(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(stat, line);
  const std::size_t name_end = line.rfind(") ");
  return name_end != std::string::npos && line[name_end + 2] == 'S';
}

// Stops and continues a process at irregular moments of its waits, for ever. In between it gets to
// its next one: on a busy machine it would otherwise never run at all.
[[noreturn]] void Storm(Attacker& a, pid_t pid, const std::function<void()>& each) {
  std::minstd_rand random(1);
  const auto pause = [&](useconds_t least, useconds_t most) {
    ::usleep(std::uniform_int_distribution<useconds_t>(least, most)(random));
  };
  while (true) {
    pause(0, 4000);
    if (!Asleep(pid)) continue;
    const int64_t began_ns = MonotonicNowNs();
    ::kill(pid, SIGSTOP);
    pause(200, 2000);
    ::kill(pid, SIGCONT);
    const int64_t stopped_ns = MonotonicNowNs() - began_ns;
    a.notes.max_stop_ns.store(std::max(a.notes.max_stop_ns.load(), stopped_ns));
    each();
  }
}

// `play` is the honest peer of a worker; a child of it storms that worker. The attack is on once
// the worker has been stopped and continued under its filter.
AttackFunction StormOnWorker(void (*play)(Attacker&)) {
  return [=](Attacker& a) {
    if (::fork() != 0) {
      Attacker silent{*NewNotes(), std::move(a.socket), a.name, a.victim_pid, a.until};
      play(silent);
      Attacker::Stay();
    }
    int waits = 0;
    Storm(a, a.victim_pid, [&] {
      if (UnderFilter(a.victim_pid) && ++waits == 30) {
        a.Mounted("stops and continues the confined worker in its timed waits, on and on");
      }
    });
  };
}

// A few records and then none, so that the victim has something to wait for.
void HonestRecords(const Words& own, const Words& data, const Words& theirs,
                   const std::function<void()>& ring) {
  uint64_t tail = 0;
  while (true) {
    if (tail < 160) {
      data.Store(tail, RecordWord(8, TagForSize(8)));
      data.Store(tail + 8, tail);
      tail += 16;
      own.Store(kTailOffset, tail);
      ring();
    }
    own.Store(kHeadOffset, theirs.Load(kTailOffset));
    ::usleep(20'000);
  }
}

void PlayConnecting(Attacker& a, uint32_t doorbells) {
  RawPeer::Plan plan;
  plan.hello.doorbells = doorbells;
  const RawPeer peer = RawPeer::Connect(a, plan);
  HonestRecords(peer.own, peer.Data(), peer.theirs, [&] { peer.RingBoth(); });
}

void PlayConnectingBySocket(Attacker& a) { PlayConnecting(a, kDoorbellSocket); }
void PlayConnectingByEventfd(Attacker& a) { PlayConnecting(a, kDoorbellSocket | kDoorbellEventfd); }

void PlayAccepting(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  host.theirs = MapShared(a, host.descriptors[1].get(), kControlBytes + kRingBytes, false);
  if (!host.SendWelcome() || !host.Finish()) a.CannotMount("the victim refused");
  const Words data(static_cast<uint64_t*>(host.own.address()) + kControlBytes / 8,
                   host.own.size_bytes() - kControlBytes);
  HonestRecords(host.own, data, host.theirs,
                [&] { static_cast<void>(!::write(host.socket.fd(), &kDataSignal, 1)); });
}

void StormOnPeer(Attacker& a) {
  const pid_t peer = ::fork();
  if (peer == 0) {
    Attacker mine{*NewNotes(), std::move(a.socket), a.name, a.victim_pid, a.until};
    PlayConnectingBySocket(mine);
  }
  int rounds = 0;
  Storm(a, peer, [&] {
    if (++rounds == 20) a.Mounted("the peer is stopped and continued during the victim's waits");
  });
}

// In the middle of everything: it owes data, room and every wake-up.
void StopForGood(Attacker& a) {
  const pid_t child = ::fork();
  if (child == 0) {
    const RawPeer peer = RawPeer::Connect(a);
    peer.own.Store(kReceiveEpochOffset, 1);
    peer.own.Store(kSendEpochOffset, 1);
    peer.Publish(RecordWord(8, TagForSize(8)), 16);
    a.Mounted("said that it sleeps, published a record, and was stopped for good");
    ::raise(SIGSTOP);
  }
  Attacker::Stay();
}

// ---- S4.

// A thread that waits for its main thread's lock-down, then kills the victim.
std::thread LurkingThread(std::atomic<int>& go, pid_t victim) {
  return std::thread([&go, victim] {
    while (go.load() == 0) ::syscall(SYS_sched_yield);
    ::syscall(SYS_kill, victim, SIGKILL);
    go.store(2);
    while (true) ::syscall(SYS_sched_yield);
  });
}

void LurkUnder(const Attacker& a, WorkerSheet& sheet, const Profile* profile) {
  GiveUpCapabilities();
  static std::atomic<int> go{0};
  const std::thread thread = LurkingThread(go, a.victim_pid);
  if (profile == nullptr) {
    LoadNaiveFilter(SYS_kill);
    sheet.locked.store(1);
  } else {
    const auto confined = LockDown(Prepared::After(thread), *profile, {});
    sheet.locked.store(confined.ok() ? 1 : 0);
    if (!confined.ok()) {
      sheet.Say(confined.status().ToString());
      ::_exit(0);
    }
  }
  go.store(1);
  while (go.load() != 2) ::syscall(SYS_sched_yield);
  sheet.returned.store(1);
  ::_exit(0);
}

void ThreadMadeBefore(Attacker& a) {
  WorkerSheet& sheet = *NewSheet();
  if (!a.confine) {
    RunWorker([&] { LurkUnder(a, sheet, nullptr); });
    a.Leaked("the other thread had no filter");
    Attacker::Stay();
  }
  const std::vector<NamedProfile> profiles = AllProfiles(STDERR_FILENO);
  for (const NamedProfile& under : profiles) {
    sheet.locked.store(0);
    const int status = RunWorker([&] { LurkUnder(a, sheet, &under.profile); });
    // The filter may meet the other thread before the first one says that it is there.
    const bool filtered = EndedByFilter(status);
    if (sheet.locked.load() == 0 && !filtered) a.CannotMount("no lock-down: " + sheet.Said());
    if (!filtered) a.Leaked("under " + under.name + " the other thread is free");
  }
  a.Mounted(std::to_string(profiles.size()) + " profiles: the filter met the other thread as well");
  Attacker::Stay();
}

// LockDown beside a thread that cannot be confined: `become` makes the calling thread one.
void ExpectRefusalOf(Attacker& a, void (*become)(), const std::string& why) {
  WorkerSheet& sheet = *NewSheet();
  RunWorker([&] {
    static std::atomic<pid_t> id{0};
    const std::thread thread([&] {
      become();
      id.store(::gettid());
      while (true) ::pause();
    });
    while (id.load() == 0) ::sched_yield();
    sheet.number.store(id.load());
    const auto confined = LockDown(Prepared::After(thread), Profile::Ring({}).WithSanitizer(), {});
    sheet.returned.store(1);
    sheet.Say(confined.ok() ? "locked down" : std::string(confined.status().message()));
    ::_exit(0);
  });
  const std::string named = "thread " + std::to_string(sheet.number.load()) + " ";
  if (sheet.returned.load() == 0) a.CannotMount("the worker ended before it locked down");
  if (sheet.Said().find(named) == std::string::npos ||
      sheet.Said().find(why) == std::string::npos) {
    a.Leaked("wanted a refusal that names " + named + ", got: " + sheet.Said());
  }
  a.Mounted(sheet.Said());
  Attacker::Stay();
}

// A filter that allows everything, on this thread: it cannot be synchronised with another one.
void TakeOwnFilter() { LoadNaiveFilter(-1); }

void ThreadWithOwnFilter(Attacker& a) {
  ExpectRefusalOf(
      a,
      [] {
        GiveUpCapabilities();
        TakeOwnFilter();
      },
      "has a filter of its own");
}

void ThreadWithCapabilities(Attacker& a) {
  ExpectRefusalOf(a, [] {}, "has capabilities of its own");
}

std::string HasCapabilities() {
  if (std::string missing = CanBeConfined(); !missing.empty()) return missing;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("CapPrm:", 0) == 0 &&
        line.find_first_of("123456789abcdef") != std::string::npos) {
      return "";
    }
  }
  return "this user has no capabilities that a thread could keep";
}

// New threads in a loop while the lock-down goes on; each tries to kill the victim for as long as
// it lives.
void ThreadsInTheMaking(Attacker& a) {
  WorkerSheet& sheet = *NewSheet();
  int ended = 0;
  int refused = 0;
  for (int round = 0; round < 10; ++round) {
    sheet.returned.store(0);
    const int status = RunWorker([&] {
      GiveUpCapabilities();
      static std::atomic<int> go{0};
      static std::atomic<int> alive{0};
      const std::thread maker([&] {
        while (true) {
          if (alive.load() >= 8) {
            ::syscall(SYS_sched_yield);
            continue;
          }
          alive.fetch_add(1);
          std::thread([&] {
            for (int i = 0; i < 5; ++i) ::syscall(SYS_sched_yield);
            // Only what is made after the lock-down counts: before it this is what any program may.
            if (go.load() != 0) ::syscall(SYS_kill, a.victim_pid, SIGKILL);
            alive.fetch_sub(1);
          }).detach();
        }
      });
      const auto confined =
          LockDown(Prepared::After(maker),
                   Profile::Ring({}).WithHeap().WithThreads().WithSanitizerIfBuiltIn(), {});
      if (!confined.ok()) {
        sheet.Say(confined.status().ToString());
        sheet.returned.store(1);
        ::_exit(0);
      }
      go.store(1);
      while (true) ::syscall(SYS_sched_yield);
    });
    // By the maker's next thread, mostly before LockDown has returned to its own.
    if (EndedByFilter(status)) {
      ++ended;
    } else if (sheet.returned.load() != 0) {
      ++refused;
    } else if (IsSanitizedBuild() && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
      ++ended;  // by its runtime, which found its own call for a new thread refused
    } else {
      a.Leaked("a worker went on making threads: " + WaitStatusText(status));
      Attacker::Stay();
    }
  }
  a.Mounted("threads were made during 10 lock-downs: the filter ended " + std::to_string(ended) +
            " of the workers, " + std::to_string(refused) + " refused");
  Attacker::Stay();
}

}  // namespace

std::vector<Case> SandboxCases() {
  VictimSetup listener;
  listener.kind = VictimKind::kListener;
  listener.ours = true;
  VictimSetup awaited;
  awaited.flaw = Flaw::kWaitsForSignal;
  awaited.attack_time = absl::Milliseconds(500);
  VictimSetup worker;
  worker.kind = VictimKind::kConnect;
  worker.confinement = Confinement::kHeap;
  worker.ours = true;
  VictimSetup threaded = worker;
  threaded.confinement = Confinement::kThreads;
  VictimSetup with_eventfd = worker;
  with_eventfd.kind = VictimKind::kAccept;
  with_eventfd.confined = true;
  with_eventfd.confinement = Confinement::kEventfd;
  const auto inside = [&](const char* name, const char* row, const char* sentence,
                          std::vector<Attempt> attempts) {
    return Case{name,    row,          sentence, listener, FromInside(std::move(attempts)),
                kServed, CanBeConfined};
  };
  return {
      inside("signal-by-owner", "S1", "F_SETOWN, F_SETSIG(SIGKILL), O_ASYNC on its own sockets",
             {kKillBySignal, kOwn, kAsync}),
      inside("signal-by-owner-ex", "S1", "the same with F_SETOWN_EX",
             {kOwnEx, kKillBySignal, kAsync}),
      inside("signal-by-fioasync", "S1", "F_SETOWN, then FIOASYNC: a SIGIO",
             {kOwn, Ioctl(FIOASYNC, One)}),
      inside("signal-by-fiosetown", "S1", "FIOSETOWN in place of F_SETOWN",
             {Ioctl(FIOSETOWN, VictimOf), Ioctl(FIOASYNC, One)}),
      inside("signal-by-siocspgrp", "S1", "SIOCSPGRP in place of F_SETOWN",
             {Ioctl(SIOCSPGRP, VictimOf), kKillBySignal, kAsync}),
      inside("signal-directly", "S1", "kill, tgkill, pidfd_send_signal", KillDirectly()),

      inside("clear-nonblock", "S2", "F_SETFL on the channel's sockets", {Fcntl(F_SETFL, O_RDWR)}),
      inside("fionbio", "S2", "FIONBIO in place of F_SETFL",
             {Ioctl(FIONBIO, [](const Hands&) { return 0; })}),
      inside("kernel-aio", "S2", "io_setup: writes that block in the kernel's name",
             Only("io_setup",
                  [](const Hands&) {
                    uint64_t context = 0;
                    return ::syscall(SYS_io_setup, 1, &context);
                  })),
      inside("io-uring", "S2", "io_uring: system calls that no filter sees",
             Only("io_uring_setup",
                  [](const Hands&) {
                    io_uring_params parameters = {};
                    return ::syscall(SYS_io_uring_setup, 1, &parameters);
                  })),
      inside("userfault-from-inside", "S2", "userfaultfd: memory that never comes",
             Only("userfaultfd",
                  [](const Hands&) { return ::syscall(SYS_userfaultfd, O_CLOEXEC | 1); })),
      inside(
          "lease-from-inside", "S2", "F_SETLEASE on a file that it holds",
          Only("fcntl",
               [](const Hands& h) { return ::syscall(SYS_fcntl, h.file, F_SETLEASE, F_RDLCK); })),
      inside("notify", "S2", "F_NOTIFY on a directory that it holds: signals",
             Only("fcntl",
                  [](const Hands& h) {
                    return ::syscall(SYS_fcntl, h.directory, F_NOTIFY, DN_ACCESS | DN_MULTISHOT);
                  })),
      inside(
          "grow-pipe", "S2", "F_SETPIPE_SZ: the kernel's memory",
          Only("fcntl",
               [](const Hands& h) { return ::syscall(SYS_fcntl, h.pipe, F_SETPIPE_SZ, 1 << 19); })),
      inside("futex-requeue", "S2", "FUTEX_REQUEUE, CMP_REQUEUE, WAKE_OP",
             Futexes({FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP}, 1)),
      inside("futex-pi", "S2", "FUTEX_LOCK_PI and UNLOCK_PI",
             Futexes({FUTEX_LOCK_PI, FUTEX_UNLOCK_PI}, 0)),
      inside("victims-memory", "S2", "process_vm_readv and writev", VictimsMemory()),
      inside("trace-victim", "S2", "ptrace of the victim",
             Only("ptrace",
                  [](const Hands& h) {
                    return ::syscall(SYS_ptrace, PTRACE_SEIZE, h.victim_pid, nullptr, nullptr);
                  })),
      inside("steal-descriptor", "S2", "pidfd_open and pidfd_getfd: the victim's descriptors",
             {{"pidfd_getfd",
               [](const Hands& h) { return ::syscall(SYS_pidfd_getfd, h.victim_pidfd, 0, 0); }},
              {"pidfd_open",
               [](const Hands& h) { return ::syscall(SYS_pidfd_open, h.victim_pid, 0); }}}),
      inside("compare-descriptors", "S2", "kcmp with the victim: kernel addresses, in order",
             Only("kcmp",
                  [](const Hands& h) {
                    return ::syscall(SYS_kcmp, ::getpid(), h.victim_pid, KCMP_FILE, 1, 1);
                  })),
      inside("watch-victim", "S2", "perf_event_open on the victim", Perf()),
      inside("huge-memfd", "S2", "memfd_create(MFD_HUGETLB)",
             Only("memfd_create",
                  [](const Hands&) {
                    return ::syscall(SYS_memfd_create, "x", MFD_HUGETLB | MFD_CLOEXEC);
                  })),
      inside("mount", "S2", "unshare and mount", Mounts()),
      inside("new-process", "S2", "clone3, clone and fork", NewProcesses()),

      {"stop-worker", "S3", "a worker under the ring's profile, stopped and continued in its waits",
       worker, StormOnWorker(PlayAccepting), kServed, CanBeConfined},
      {"stop-worker-threads", "S3", "the same under the profile with threads", threaded,
       StormOnWorker(PlayAccepting), kServed, CanBeConfined},
      {"stop-worker-eventfd", "S3", "the same with eventfds as doorbells", with_eventfd,
       StormOnWorker(PlayConnectingByEventfd), kServed, CanBeConfined},
      {"stop-peer", "S3", "a peer that is stopped and continued during our waits", awaited,
       StormOnPeer, kServed},
      {"stop-peer-for-good", "S3", "a peer that is stopped while it owes everything", awaited,
       StopForGood, kServed},

      {"thread-made-before", "S4", "a thread from before the lock-down kills the victim", listener,
       ThreadMadeBefore, kServed, CanBeConfined},
      {"thread-with-filter", "S4", "a thread whose own filter keeps ours away", listener,
       ThreadWithOwnFilter, kServed, CanBeConfined},
      {"thread-with-capabilities", "S4", "a thread that keeps its capabilities", listener,
       ThreadWithCapabilities, kServed, HasCapabilities, "a user with capabilities"},
      {"threads-in-the-making", "S4", "threads that are made during the lock-down", listener,
       ThreadsInTheMaking, kServed, CanBeConfined},
  };
}

}  // namespace parley::villain
