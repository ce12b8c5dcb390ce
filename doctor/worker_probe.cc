// SPDX-License-Identifier: Apache-2.0
#include "parley/doctor/worker_probe.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/os/eventfd.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/confinement_proof.h"
#include "parley/sandbox/inherited.h"
#include "parley/sandbox/profile.h"
#include "parley/sandbox/spawn.h"

namespace parley {
namespace {

constexpr char kSocketName[] = "PARLEY_DOCTOR_FD";
constexpr absl::Duration kPatience = absl::Seconds(10);

// ---- The worker's side.

struct Tools {
  int socket;
  int eventfd;
  uint32_t* word;
};

int ErrnoOf(bool ok) { return ok ? 0 : errno; }

// Each is made once, after lock-down. 0 or the error.
using Try = std::function<int(const Tools&)>;

struct NamedTry {
  Probe probe;
  Try attempt;
};

const std::vector<NamedTry>& Tries() {
  static const std::vector<NamedTry> tries = {
      {{"nothing", "be confined"}, [](const Tools&) { return 0; }},
      {{"poll", "wait for the peer with a deadline (poll)"},
       [](const Tools& here) {
         pollfd entry = {here.socket, POLLIN, 0};
         return ErrnoOf(::poll(&entry, 1, 1) >= 0);
       }},
      {{"socket-doorbell", "wake the peer through the channel's socket"},
       [](const Tools& here) {
         return ErrnoOf(::send(here.socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1);
       }},
      {{"eventfd-doorbell", "wake the peer through an eventfd"},
       [](const Tools& here) {
         const uint64_t one = 1;
         if (::write(here.eventfd, &one, sizeof(one)) != sizeof(one)) return errno;
         return TakeEventfdCount(here.eventfd) == 1 ? 0 : EIO;
       }},
      {{"futex-doorbell", "wake the peer through a futex, and sleep on one"},
       [](const Tools& here) {
         if (::syscall(SYS_futex, here.word, FUTEX_WAKE, 1, nullptr, nullptr, 0) < 0) return errno;
         const timespec moment = {0, 1'000'000};
         ::syscall(SYS_futex, here.word, FUTEX_WAIT, 0, &moment, nullptr, 0);
         return errno == ETIMEDOUT ? 0 : errno;
       }},
      {{"barriers", "leave its memory fences to the peer (membarrier)"},
       [](const Tools&) {
         return ErrnoOf(::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0) ==
                        0);
       }},
      {{"heap", "allocate memory"},
       [](const Tools&) {
         try {
           for (const size_t size_bytes : {size_t{1} << 10, size_t{1} << 20, size_t{8} << 20}) {
             const std::vector<char> block(size_bytes, 1);
           }
         } catch (const std::exception&) {
           return ENOMEM;
         }
         return 0;
       }},
      {{"print", "print to stderr (nobody reads it)"},
       [](const Tools&) { return ErrnoOf(::write(STDERR_FILENO, "x", 1) == 1); }},
      {{"thread", "start a thread"},
       [](const Tools&) {
         pthread_t thread;
         return ::pthread_create(&thread, nullptr, [](void* p) { return p; }, nullptr);
       }},
      {{"file", "open a file"},
       [](const Tools&) { return ErrnoOf(::open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0); }},
      {{"socket", "make a socket"},
       [](const Tools&) { return ErrnoOf(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0); }},
      {{"program", "start a program"},
       [](const Tools&) {
         char name[] = "true";
         char* const arguments[] = {name, nullptr};
         ::execve("/bin/true", arguments, environ);
         return errno;
       }},
      {{"code", "make executable memory"},
       [](const Tools&) {
         return ErrnoOf(::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                               -1, 0) != MAP_FAILED);
       }},
  };
  return tries;
}

std::vector<std::string> Words(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream stream(list);
  for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
  return words;
}

// Nothing for a word that there is not.
std::optional<Profile> ProfileOf(const std::string& list, int socket, int eventfd) {
  Profile profile = Profile::Ring({socket}).WithEventfd(eventfd);
  const std::vector<std::string> words = Words(list);
  if (words.empty()) return std::nullopt;
  for (const std::string& word : words) {
    if (word == "heap") {
      profile = profile.WithHeap();
    } else if (word == "threads") {
      profile = profile.WithThreads();
    } else if (word == "files-absent") {
      profile = profile.WithFilesAbsent();
    } else if (word != "ring") {
      return std::nullopt;
    }
  }
  return profile.WithSanitizerIfBuiltIn();
}

bool Say(int socket, const std::string& text) {
  return ::send(socket, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(text.size());
}

// One message; nothing at the end of the other side or after `kPatience`.
std::optional<std::string> Hear(int socket) {
  pollfd entry = {socket, POLLIN, 0};
  const absl::StatusOr<int> ready =
      PollUntil(absl::MakeSpan(&entry, 1), Deadline::After(kPatience));
  if (!ready.ok() || *ready == 0) return std::nullopt;
  std::string text(4096, '\0');
  const ssize_t size_bytes = ::recv(socket, text.data(), text.size(), MSG_DONTWAIT);
  if (size_bytes <= 0) return std::nullopt;
  text.resize(static_cast<size_t>(size_bytes));
  return text;
}

// "1 7 1 1 1 1 confined: ..." or "0 reason".
std::string Line(const ConfinementReport& report) {
  std::string line = "1 " + std::to_string(report.landlock_abi);
  for (const bool flag :
       {report.mdwe, report.empty_root, report.code_is_sealed, report.reports_refusals}) {
    line += flag ? " 1" : " 0";
  }
  return line + " " + report.ToString();
}

void Take(const std::string& line, WorkerAnswer& answer) {
  std::istringstream words(line);
  bool confined = false;
  words >> confined;
  LockedDown report;
  if (confined) {
    words >> report.landlock_abi >> report.mdwe >> report.empty_root >> report.code_is_sealed >>
        report.reports_refusals;
  }
  std::string rest;
  std::getline(words >> std::ws, rest);
  if (confined) {
    report.text = rest;
    answer.locked_down = report;
  } else {
    answer.why_not = rest;
  }
}

}  // namespace

const std::vector<Probe>& Probes() {
  static const std::vector<Probe> probes = [] {
    std::vector<Probe> list;
    for (const NamedTry& named : Tries()) list.push_back(named.probe);
    return list;
  }();
  return probes;
}

std::string ProfileWords() { return "ring, heap, threads, files-absent, or several: heap,threads"; }

bool IsProfile(const std::string& profile) { return ProfileOf(profile, 3, 4).has_value(); }

int WorkerMain(const std::string& profile, const std::string& probe) {
  absl::StatusOr<UniqueFd> socket = TakeInheritedFd(kSocketName);
  if (!socket.ok()) return 2;
  const UniqueFd eventfd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  void* const page =
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const std::optional<Profile> wanted = ProfileOf(profile, socket->get(), eventfd.get());
  const NamedTry* chosen = nullptr;
  for (const NamedTry& named : Tries()) {
    if (named.probe.id == probe) chosen = &named;
  }
  if (page == MAP_FAILED || !wanted.has_value() || chosen == nullptr) return 2;
  const Tools here = {socket->get(), eventfd.get(), static_cast<uint32_t*>(page)};
  absl::StatusOr<Confined> confined = LockDown(Prepared::After(*socket, eventfd), *wanted,
                                               {.keep = {socket->get(), eventfd.get()}});
  if (!confined.ok()) {
    Say(here.socket, "0 " + std::string(confined.status().message()));
    ::_exit(1);
  }
  // Not exit(): the last words of a library may need more than the profile has. And no heap from
  // here on: what is tried may be that there is none.
  const std::string line = Line(confined->report());
  std::array<char, 4> answer = {};
  if (::send(here.socket, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) ::_exit(1);
  pollfd entry = {here.socket, POLLIN, 0};
  ::poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(kPatience)));
  if (::recv(here.socket, answer.data(), 1, MSG_DONTWAIT) != 1) ::_exit(1);
  const int error = chosen->attempt(here);
  std::memcpy(answer.data(), &error, sizeof(error));
  ::send(here.socket, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::_exit(0);
}

absl::StatusOr<WorkerAnswer> TryInWorker(const SelfProgram& self, const std::string& profile,
                                         const std::string& probe) {
  if (!IsProfile(profile)) {
    return absl::InvalidArgumentError("no profile '" + profile + "'; there are: " + ProfileWords());
  }
  std::array<int, 2> ends = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return absl::ResourceExhaustedError("cannot make a pair of sockets");
  }
  const UniqueFd ours(ends[0]);
  SpawnOptions options;
  options.program = self.path;
  options.name = "doctor's worker";
  options.arguments = self.leading;
  for (const std::string& word : {std::string(kWorkerFlag), profile, probe}) {
    options.arguments.push_back(word);
  }
  options.environment_from_ours = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
  options.stderr_to = OutputTo::kNull;
  options.descriptors.push_back(InheritedDescriptor::Give(UniqueFd(ends[1]), kSocketName));
  absl::StatusOr<Worker> worker = Spawn(std::move(options));
  if (!worker.ok()) return worker.status();
  WorkerAnswer answer;
  answer.wall = worker->second_wall();
  if (const std::optional<std::string> line = Hear(ours.get()); line.has_value()) {
    Take(*line, answer);
  } else {
    answer.why_not = "the worker ended before it was confined";
  }
  if (answer.locked_down.has_value()) {
    const absl::StatusOr<ConfinementProof> proof =
        AwaitConfined(*worker, Deadline::After(kPatience));
    if (!proof.ok()) answer.unproven = std::string(proof.status().message());
    Say(ours.get(), "g");
    // The probe of the socket sends an empty message's worth of its own before the answer.
    while (const std::optional<std::string> said = Hear(ours.get())) {
      if (said->size() != sizeof(int)) continue;
      int error = 0;
      std::memcpy(&error, said->data(), sizeof(error));
      answer.error = error;
      break;
    }
  }
  const absl::StatusOr<ExitReport> report = worker->Wait(Deadline::After(kPatience));
  if (!report.ok()) return report.status();
  answer.report = *report;
  if (!answer.locked_down.has_value() && answer.report.killed_by_filter()) {
    answer.why_not = answer.report.ToString();
  }
  return answer;
}

}  // namespace parley
