// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/hijacked.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/time/time.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/os/pidfd.h"
#include "parley/ring/layout.h"
#include "parley/sandbox/confine.h"
#include "parley/testing/sanitizers.h"
#include "parley/villain/process.h"
#include "parley/wait/layout.h"

namespace parley::villain {
namespace {

UniqueFd Open(const char* path, int flags) { return UniqueFd(::open(path, flags | O_CLOEXEC)); }

// An honest worker with a channel to the victim, up to the moment before its lock-down.
struct ReadyWorker {
  RawPeer peer;
  UniqueFd victim_pidfd;
  UniqueFd file;
  UniqueFd directory;
  UniqueFd pipe;
  UniqueFd pipe_out;

  Hands hands(const Attacker& a) const {
    return {peer, a.victim_pid, victim_pidfd.get(), file.get(), directory.get(), pipe.get()};
  }
  std::vector<int> descriptors() const {
    std::vector<int> all = {peer.socket.fd(), victim_pidfd.get(), file.get(),
                            directory.get(),  pipe.get(),         pipe_out.get()};
    for (const UniqueFd& fd : peer.descriptors) all.push_back(fd.get());
    return all;
  }
};

// Ends this process if there is no channel; the attacker's main process tries again.
ReadyWorker BecomeReady(const Attacker& a, Notes& notes) {
  // For the one who tries to mount: whatever works is gone with it.
  static_cast<void>(::unshare(CLONE_NEWNS));
  Attacker mine{notes, Dial(a), a.name, a.victim_pid, a.until};
  if (!mine.socket.ok()) mine.CannotMount("the victim does not listen");
  std::array<int, 2> ends = {-1, -1};
  static_cast<void>(::pipe2(ends.data(), O_CLOEXEC));
  auto pidfd = OpenPidfd(a.victim_pid);
  return {RawPeer::Connect(mine),
          pidfd.ok() ? *std::move(pidfd) : UniqueFd(),
          Open("/proc/self/exe", O_RDONLY),
          Open("/", O_RDONLY | O_DIRECTORY),
          UniqueFd(ends[0]),
          UniqueFd(ends[1])};
}

// `which` of AllProfiles, with what the worker has for its channel.
void TryUnder(const Attacker& a, Notes& notes, WorkerSheet& sheet, std::size_t which,
              const Attempt& attempt) {
  const ReadyWorker worker = BecomeReady(a, notes);
  const Hands hands = worker.hands(a);
  const std::vector<int> descriptors = worker.descriptors();
  const auto confined =
      LockDown(Prepared::After(worker), AllProfiles(STDERR_FILENO, descriptors)[which].profile,
               {.keep = descriptors});
  if (!confined.ok()) {
    sheet.Say(confined.status().ToString());
    return;
  }
  sheet.locked.store(1);
  errno = 0;
  sheet.result.store(attempt.make(hands));
  sheet.error.store(errno);
  sheet.returned.store(1);
}

// What an honest worker without any confinement could do, one after the other; then it waits for
// what it set up.
void TryWithoutFilter(const Attacker& a, Notes& notes, WorkerSheet& sheet,
                      const std::vector<Attempt>& attempts) {
  const ReadyWorker worker = BecomeReady(a, notes);
  const Hands hands = worker.hands(a);
  sheet.locked.store(1);
  for (const Attempt& attempt : attempts) {
    if (attempt.make(hands) < 0) {
      sheet.Say(std::string(attempt.call) + ": " + std::strerror(errno));
      return;
    }
  }
  sheet.returned.store(1);
  for (uint64_t round = 1; round < 300; ++round) {
    worker.peer.own.Store(kReceiveEpochOffset, round);
    worker.peer.own.Store(kSendEpochOffset, round);
    worker.peer.Drain();
    ::usleep(1000);
  }
}

// The errno by which the profile answers the call in the kernel's place; 0 if it does not.
int AnswerOf(const Profile& profile, const char* call) {
  for (const Rule& rule : profile.rules()) {
    const bool whole_call = rule.answer == Rule::Answer::kErrno && rule.filters.empty();
    if (whole_call && std::strcmp(rule.call, call) == 0) return rule.error;
  }
  return 0;
}

// Empty, or what got through.
std::string Judge(const WorkerSheet& sheet, int status, const NamedProfile& under,
                  const Attempt& attempt) {
  if (sheet.returned.load() == 0) {
    if (EndedByFilter(status)) return "";
    return "under " + under.name + ", " + attempt.call + " ended the worker with " +
           WaitStatusText(status);
  }
  const int answer = AnswerOf(under.profile, attempt.call);
  if (sheet.result.load() == -1 && answer != 0 && sheet.error.load() == answer) return "";
  return "under " + under.name + ", " + attempt.call + " was made: it gave " +
         std::to_string(sheet.result.load()) + ", " + std::strerror(sheet.error.load());
}

}  // namespace

std::vector<NamedProfile> AllProfiles(int fd, const std::vector<int>& channel) {
  const Profile ring = Profile::Ring(channel);
  return {
      {"ring", ring},
      {"ring+eventfd", ring.WithEventfd(fd)},
      {"ring+write", ring.WithWriteTo(fd)},
      {"ring+read", ring.WithReadFrom(fd)},
      {"ring+heap", ring.WithHeap()},
      {"ring+threads", ring.WithThreads()},
      {"ring+files-absent", ring.WithFilesAbsent()},
      {"ring+sanitizer", ring.WithSanitizer()},
      {"all together", ring.WithEventfd(fd)
                           .WithWriteTo(fd)
                           .WithReadFrom(fd)
                           .WithHeap()
                           .WithThreads()
                           .WithFilesAbsent()},
  };
}

std::string CanBeConfined() {
#if PARLEY_HAS_TSAN
  return "the thread sanitizer has a thread of its own in each process, with all capabilities";
#else
  return "";
#endif
}

AttackFunction FromInside(std::vector<Attempt> attempts) {
  return [attempts = std::move(attempts)](Attacker& a) {
    Notes& notes = *NewNotes();
    WorkerSheet& sheet = *NewSheet();
    if (!a.confine) {
      RunWorker([&] { TryWithoutFilter(a, notes, sheet, attempts); });
      if (sheet.returned.load() == 0) a.CannotMount(sheet.Said() + notes.Said());
      a.Leaked("nothing kept the worker from it");
      Attacker::Stay();
    }
    int ended = 0;
    int answered = 0;
    const std::vector<NamedProfile> profiles = AllProfiles(STDERR_FILENO);
    for (std::size_t which = 0; which < profiles.size(); ++which) {
      const NamedProfile& under = profiles[which];
      for (const Attempt& attempt : attempts) {
        int status = 0;
        do {
          if (a.until.Expired()) a.CannotMount("no worker: " + sheet.Said() + notes.Said());
          sheet.locked.store(0);
          sheet.returned.store(0);
          status = RunWorker([&] { TryUnder(a, notes, sheet, which, attempt); });
        } while (sheet.locked.load() == 0);
        const std::string through = Judge(sheet, status, under, attempt);
        if (!through.empty()) {
          a.Leaked(through);
          Attacker::Stay();
        }
        ++(sheet.returned.load() == 0 ? ended : answered);
      }
    }
    a.Mounted(std::to_string(profiles.size()) + " profiles: the filter ended " +
              std::to_string(ended) + " workers, and answered " + std::to_string(answered));
    Attacker::Stay();
  };
}

void WorkerSheet::Say(const std::string& sentence) {
  const std::size_t size = std::min(sentence.size(), sizeof(text) - 1);
  std::memcpy(text, sentence.data(), size);
  text[size] = '\0';
}

std::string WorkerSheet::Said() const { return std::string(text, ::strnlen(text, sizeof(text))); }

WorkerSheet* NewSheet() {
  void* page = ::mmap(nullptr, sizeof(WorkerSheet), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  PARLEY_CHECK(page != MAP_FAILED, "mmap");
  // SAFETY: a fresh page of zeros, and the sheet is made of lock-free atomics and characters.
  return static_cast<WorkerSheet*>(page);
}

int RunWorker(const std::function<void()>& body) {
  const pid_t pid = ::fork();
  PARLEY_CHECK(pid >= 0, "fork");
  if (pid == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  const Deadline deadline = Deadline::After(absl::Seconds(5));
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (deadline.Expired()) ::kill(pid, SIGKILL);
    ::usleep(200);
  }
  return status;
}

void GiveUpCapabilities() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none = {};
  PARLEY_CHECK(::syscall(SYS_capset, &header, none.data()) == 0, "capset");
}

bool EndedByFilter(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS; }

}  // namespace parley::villain
