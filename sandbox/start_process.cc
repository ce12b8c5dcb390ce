// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/start_process.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "parley/os/deadline.h"
#include "parley/os/descriptor_bound.h"
#include "parley/os/errors.h"
#include "parley/os/pidfd.h"
#include "parley/sandbox/namespace_holder.h"
#include "parley/sandbox/nobody_program.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/program_probe.h"
#include "parley/sandbox/unreaped.h"

namespace parley::internal {
namespace {

// For the holder to be ready, and for a process that was killed to be gone.
constexpr absl::Duration kPatience = absl::Seconds(5);
// How often is asked whether the holder still lives.
constexpr int kSliceMs = 20;

// What both sides of a clone see and what exec leaves behind.
struct Shared {
  StartFailure failure;
  int proc_error;
};

// A holder, or a child that becomes nobody, could not execute its program here.
std::atomic<bool> programs_are_refused{false};

// Pages that are unmapped at the end of the scope.
class Pages {
 public:
  Pages(size_t size_bytes, int kind)
      : size_bytes_(size_bytes),
        start_(::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0)) {}
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() {
    if (ok()) ::munmap(start_, size_bytes_);
  }
  bool ok() const { return start_ != MAP_FAILED; }
  // Page-aligned, zeroed by the kernel.
  void* start() const { return start_; }
  void* end() const { return static_cast<char*>(start_) + size_bytes_; }

 private:
  const size_t size_bytes_;
  void* const start_;
};

constexpr size_t kSharedBytes = 4096;
static_assert(sizeof(Shared) <= kSharedBytes);
constexpr size_t kStackBytes = size_t{64} << 10;

// No signal handler of ours may run in a child, which has our memory or its copy but not our
// threads.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;
  ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// Returns when the child has become its program or has failed (CLONE_VFORK), so that nothing has to
// be waited for here that another process could hold open.
void StartWithout(const ChildStart& start, StartedProcess& process) {
  int pidfd = -1;
  // DESCRIPTOR: gets its UniqueFd below.
  constexpr int kFlags = CLONE_PIDFD | CLONE_VFORK | SIGCHLD;
  // It runs in our memory, on a stack of its own, or the copy of a large parent's page tables takes
  // longer than all else. Not libc's fork: no handlers of other libraries run in the child.
  const Pages stack(kStackBytes, MAP_PRIVATE | MAP_STACK);
  const ChildStart* child = &start;
  long pid = 0;  // NOLINT: syscall's type
  if (stack.ok() && !kSanitizer) {
    // DESCRIPTOR: gets its UniqueFd below.
    pid = ::clone(StartOnStack, stack.end(), kFlags | CLONE_VM, static_cast<void*>(&child), &pidfd);
  } else {
    // DESCRIPTOR: as above.
    pid = ::syscall(SYS_clone, kFlags, nullptr, &pidfd, nullptr, nullptr);
    if (pid == 0) StartAsChild(start);
  }
  if (pid < 0) {
    process.failure = {StartStep::kClone, errno};
    return;
  }
  process.pid = static_cast<pid_t>(pid);
  process.pidfd.Reset(pidfd);
}

bool WriteFile(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.ok() &&
         ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string OneToOne(unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; }

// Where that takes our privilege: for another user than ours.
bool WriteNobodysMaps(pid_t holder) {
  const std::string folder = "/proc/" + std::to_string(holder) + "/";
  return WriteFile(folder + "uid_map", OneToOne(kNobody)) &&
         WriteFile(folder + "gid_map", OneToOne(kNobody));
}

// A failure with kNamespaces: not with these.
void StartWithin(ChildStart start, const NamespaceAttempt& attempt, int holder_socket,
                 HolderPage& page, Shared& shared, StartedProcess& process) {
  const UniqueFd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  const Pages stack(kStackBytes, MAP_PRIVATE | MAP_STACK);
  const Pages child_stack(kStackBytes, MAP_PRIVATE | MAP_STACK);
  if (!page.ok() || !self.ok() || !stack.ok() || !child_stack.ok()) {
    process.failure = {StartStep::kNamespaces, errno};
    return;
  }
  process.failure = MakeHolder(attempt, holder_socket, start.dies_with_parent ? self.get() : -1,
                               page, &process.holder);
  if (process.failure.step != StartStep::kNone) return;
  WallStart wall = {
      .events = &page.events(),
      .holder_pidfd = process.holder.get(),
      .namespaces = attempt.namespaces,
      // From within the user namespace a holder cannot be entered that may not be dumped, as we.
      .entered_late = ::prctl(PR_GET_DUMPABLE) == 1 ? attempt.namespaces & CLONE_NEWNET : 0,
      .becomes_nobody = attempt.nobody,
      .proc_error = &shared.proc_error,
  };
  start.wall = &wall;
  start.parent_pidfd = self.get();
  // Overwritten by a child that shares our memory, and another attempt may follow.
  std::vector<int> descriptors(start.descriptors, start.descriptors + start.descriptor_count);
  NobodyProgram nobody;
  // Where a holder has none, this one would be refused as well.
  if (attempt.nobody && page.has_program()) {
    if (const int error = nobody.Make(start); error != 0) {
      process.failure = {StartStep::kClone, error};
      return;
    }
    if (nobody.ok()) {
      wall.nobody_program = start.descriptor_count + 1;
      descriptors.push_back(self.get());
      descriptors.push_back(nobody.file());
      start.descriptor_count += 2;
    }
  }
  start.descriptors = descriptors.data();
  const bool is_copy = attempt.nobody && !nobody.ok();
  EntranceStart entrance = {.child = &start,
                            .child_stack_end = is_copy ? nullptr : child_stack.end(),
                            .pid = -1,
                            .pidfd = -1};
  // libc's clone, for it starts on a stack of its own.
  const pid_t between = ::clone(
      [](void* argument) {
        EnterAndStart(*static_cast<EntranceStart*>(argument));
        return 0;
      },
      stack.end(), CLONE_VM | CLONE_FILES | CLONE_VFORK | SIGCHLD, &entrance);
  if (between < 0) {
    process.failure = {StartStep::kNamespaces, errno};
    return;
  }
  // It has ended already. Or something else in this process has reaped it.
  siginfo_t info;
  static_cast<void>(::waitid(P_PID, static_cast<id_t>(between), &info, WEXITED | __WALL));
  process.pid = entrance.pid;
  process.pidfd.Reset(entrance.pidfd);
  if (shared.failure.step == StartStep::kNone && nobody.ok()) {
    shared.failure = nobody.Await(process.pidfd);
  }
  if (shared.failure.step == StartStep::kHolderProgram) programs_are_refused.store(true);
  // A holder that could not execute its program has taken the child with it, wherever that was.
  if (shared.failure.step == StartStep::kNone || shared.failure.step == StartStep::kClone) {
    const StartFailure holder = AwaitHolderAlone(process.holder, page);
    const bool is_cause = holder.step == StartStep::kHolderProgram;
    if (is_cause || shared.failure.step == StartStep::kNone) shared.failure = holder;
  }
}

}  // namespace

// Shared with a holder that is a copy, too.
struct HolderPage::Memory {
  HolderEvents events;
  HolderStart start;
  char user_map[32];
  char group_map[32];
};

HolderPage::HolderPage() {
  void* const page =
      ::mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  void* const stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) {
    ::munmap(page, sizeof(Memory));
    return;
  }
  // SAFETY: page-aligned, zeroed by the kernel, a plain struct.
  memory_ = static_cast<Memory*>(page);
  stack_ = stack;
}

HolderPage::~HolderPage() {
  // One that could not be reaped runs here until it ends, and the kernel writes to a word then.
  if (memory_ == nullptr || events().shares_memory.value != 0) return;
  ::munmap(memory_, sizeof(Memory));
  ::munmap(stack_, kStackBytes);
}

HolderEvents& HolderPage::events() const { return memory_->events; }

void KillAndReapChild(const UniqueFd& pidfd) {
  if (!pidfd.ok()) return;
  ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
  siginfo_t info;
  rusage usage;
  static_cast<void>(ReapUntil(pidfd.get(), Deadline::After(kPatience), &info, &usage));
}

bool HolderSays(const UniqueFd& holder, Event& event) {
  const Deadline deadline = Deadline::After(kPatience);
  while (true) {
    const uint32_t value = Await(event, kSliceMs);
    if (value != 0) return value == kHappened;
    if (ProcessHasEnded(holder.get()) || deadline.Expired()) return false;
  }
}

StartFailure AwaitHolderAlone(const UniqueFd& holder, const HolderPage& page) {
  constexpr StartFailure kNot = {StartStep::kNamespaces, ETIMEDOUT};
  constexpr StartFailure kDone = {StartStep::kNone, 0};
  HolderEvents& events = page.events();
  if (!page.has_program()) return HolderSays(holder, events.held) ? kDone : kNot;
  const Deadline deadline = Deadline::After(kPatience);
  while (AwaitChange(events.shares_memory, kHappened, kSliceMs) != 0) {
    if (deadline.Expired()) return kNot;
  }
  const int error = events.execution_error;
  if (error == EACCES || error == EPERM || error == ENOSYS || error == ENOEXEC) {
    programs_are_refused.store(true);
    return {StartStep::kHolderProgram, error};
  }
  if (error == kHolderNotReady) return kNot;
  if (error != 0) return {StartStep::kNamespaces, error};
  return ProcessHasEnded(holder.get()) ? kNot : kDone;
}

bool IsScarce(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN;
}

SecondWall WallOf(const NamespaceAttempt& attempt, int proc_error) {
  const auto has = [&attempt](int flag) { return (attempt.namespaces & flag) != 0; };
  SecondWall wall;
  wall.user = has(CLONE_NEWUSER);
  wall.pid = has(CLONE_NEWPID);
  wall.mount = has(CLONE_NEWNS);
  wall.own_proc = wall.mount && proc_error == 0;
  wall.network = has(CLONE_NEWNET);
  wall.ipc = has(CLONE_NEWIPC);
  wall.uts = has(CLONE_NEWUTS);
  wall.cgroup = has(CLONE_NEWCGROUP);
  wall.nobody = attempt.nobody;
  return wall;
}

StartFailure MakeHolder(const NamespaceAttempt& attempt, int holder_socket, int parent_pidfd,
                        HolderPage& page, UniqueFd* pidfd) {
  // What it unmaps is written for pages of 4 KiB.
  const bool small_pages = ::sysconf(_SC_PAGESIZE) == 4096;
  if (small_pages && !programs_are_refused.load()) {
    int error = 0;
    page.program_ = HolderProgram(&error);
    if (error != 0) return {StartStep::kClone, error};
    if (page.program_.ok() && !ProgramRunsHere(page.program_)) {
      programs_are_refused.store(true);
      page.program_.Reset();
    }
  }
  HolderPage::Memory& memory = *page.memory_;
  const std::string user_map = OneToOne(::geteuid());
  const std::string group_map = OneToOne(::getegid());
  std::memcpy(memory.user_map, user_map.data(), user_map.size());
  std::memcpy(memory.group_map, group_map.data(), group_map.size());
  memory.start = {
      .events = &memory.events,
      .socket = holder_socket,
      .parent_pidfd = parent_pidfd,
      .program = page.program_.get(),
      .descriptor_bound = DescriptorBoundWithoutCloseRange(),
      .mounts = (attempt.namespaces & CLONE_NEWNS) != 0,
      .network = (attempt.namespaces & CLONE_NEWNET) != 0,
      .small_pages = small_pages,
      .writes_maps = !attempt.nobody,
      .user_map = memory.user_map,
      .user_map_bytes = user_map.size(),
      .group_map = memory.group_map,
      .group_map_bytes = group_map.size(),
  };
  const AllSignalsBlocked blocked;
  int holder_pidfd = -1;
  // Without a signal at its end: nobody else in this process need know of it.
  // DESCRIPTOR: gets its UniqueFd below.
  const int flags = (attempt.namespaces & ~CLONE_NEWNET) | CLONE_PIDFD;
  long holder = 0;  // NOLINT: syscall's type
  if (page.has_program()) {
    memory.events.shares_memory.value = kHappened;
    memory.events.execution_error = kHolderNotReady;
    holder = ::clone(
        [](void* start) -> int { HoldNamespaces(*static_cast<const HolderStart*>(start)); },
        static_cast<char*>(page.stack_) + kStackBytes, flags | CLONE_VM | CLONE_CHILD_CLEARTID,
        &memory.start, &holder_pidfd, nullptr, &memory.events.shares_memory);
  } else {
    holder = ::syscall(SYS_clone, flags, nullptr, &holder_pidfd, nullptr, nullptr);
    if (holder == 0) HoldNamespaces(memory.start);
  }
  if (holder < 0) {
    memory.events.shares_memory.value = 0;
    return {StartStep::kNamespaces, errno};
  }
  pidfd->Reset(holder_pidfd);
  if (!attempt.nobody) return {StartStep::kNone, 0};
  const bool written = WriteNobodysMaps(static_cast<pid_t>(holder));
  Announce(memory.events.mapped, written ? kHappened : kFailed);
  return written ? StartFailure{StartStep::kNone, 0} : StartFailure{StartStep::kNobody, EPERM};
}

std::vector<NamespaceAttempt> NamespaceAttempts(const NamespaceOptions& options,
                                                std::string* missing, StartFailure* failure) {
  using Use = NamespaceOptions::Use;
  // A holder has our memory, or a copy of it, for a moment; one that others of our user could look
  // into is not what a process that cannot be dumped wants, and any other can't be entered.
  const bool hidden = ::geteuid() != 0 && ::prctl(PR_GET_DUMPABLE) != 1;
  const bool nobody = options.root_becomes_nobody && ::geteuid() == 0;
  std::vector<NamespaceAttempt> attempts;
  // The holder lives without a sanitizer's shadow memory and would end at its first touch.
  if (options.use != Use::kNone && (hidden || kSanitizer)) {
    if (options.use == Use::kRequired) {
      *failure = {StartStep::kNamespaces, kSanitizer ? ENOTSUP : EPERM};
      return attempts;
    }
    *missing = kSanitizer
                   ? "making its namespaces: this is a sanitizer's build"
                   : "making its namespaces: this process cannot be dumped (PR_SET_DUMPABLE)";
  } else if (options.use != Use::kNone) {
    const int network = options.network ? CLONE_NEWNET : 0;
    const int core = CLONE_NEWUSER | CLONE_NEWPID;
    const int small = CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    attempts.push_back({core | CLONE_NEWNS | small | network, nobody});
    if (options.use == Use::kRequired) return attempts;
    // Any of them may be missing in this kernel, or limited to none by the administrator.
    for (const int fewer : {core | CLONE_NEWNS | small, core | CLONE_NEWNS, core}) {
      if (fewer != attempts.back().namespaces) attempts.push_back({fewer, nobody});
    }
  }
  attempts.push_back({0, false});
  return attempts;
}

StartedProcess StartProcess(ChildStart start, const NamespaceOptions& options,
                            UniqueFd holder_socket) {
  using Use = NamespaceOptions::Use;
  StartedProcess process;
  const Pages page(kSharedBytes, MAP_SHARED);
  if (!page.ok()) {
    process.failure = {StartStep::kClone, errno};
    return process;
  }
  const AllSignalsBlocked blocked;
  // SAFETY: page-aligned, zeroed by the kernel, large enough, a plain struct.
  Shared& shared = *static_cast<Shared*>(page.start());
  start.failure = &shared.failure;
  std::string missing;
  const auto miss = [&missing](const std::string& why) {
    missing += (missing.empty() ? "" : "; ") + why;
  };

  std::vector<NamespaceAttempt> attempts = NamespaceAttempts(options, &missing, &process.failure);
  if (process.failure.step != StartStep::kNone) return process;
  if (attempts.back().namespaces == 0) attempts.pop_back();  // that is below
  for (size_t i = 0; i < attempts.size();) {
    const NamespaceAttempt attempt = attempts[i];
    std::memset(page.start(), 0, sizeof(Shared));
    process = StartedProcess();
    HolderPage holder_page;
    StartWithin(start, attempt, holder_socket.get(), holder_page, shared, process);
    if (process.failure.step == StartStep::kNone) process.failure = shared.failure;
    const StartFailure failure = process.failure;
    if (failure.step == StartStep::kNone) {
      process.wall = WallOf(attempt, shared.proc_error);
      process.wall.missing = missing;
      return process;
    }
    KillAndReapChild(process.pidfd);
    KillAndReapChild(process.holder);
    process.pidfd.Reset();
    process.holder.Reset();
    if (failure.step == StartStep::kHolderProgram) continue;
    const bool for_nobody =
        failure.step == StartStep::kNobody ||
        (failure.step == StartStep::kExec && failure.error == EACCES && attempt.nobody);
    if (for_nobody) {
      for (NamespaceAttempt& left : attempts) left.nobody = false;
      miss(failure.step == StartStep::kNobody
               ? "its user id stays root's: this process may not change user ids"
               : "its user id stays root's: user 65534 may not execute the program");
      continue;
    }
    if (failure.step != StartStep::kNamespaces || IsScarce(failure.error) ||
        options.use == Use::kRequired) {
      return process;
    }
    if (i == 0) miss("making its namespaces: " + ErrnoText(failure.error));
    ++i;
  }
  std::memset(page.start(), 0, sizeof(Shared));
  process = StartedProcess();
  StartWithout(start, process);
  process.wall.missing = missing;
  if (process.failure.step == StartStep::kNone) process.failure = shared.failure;
  if (process.failure.step != StartStep::kNone) {
    KillAndReapChild(process.pidfd);
    process.pidfd.Reset();
  }
  return process;
}

}  // namespace parley::internal
