// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/attack.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"

namespace parley::villain {
namespace {

pid_t PeerOf(int socket) {
  ucred credentials = {};
  socklen_t size = sizeof(credentials);
  ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
  return credentials.pid;
}

// One target, for all cases.
class Siege {
 public:
  explicit Siege(const Target& target) : target_(target) {}

  // Empty or why there is nothing to attack.
  std::string Begin() {
    if (target_.listen.empty()) return "";
    auto listener = Listener::Bind(target_.listen);
    if (!listener.ok()) return listener.status().ToString();
    listener_.emplace(*std::move(listener));
    return "";
  }

  Result Attack(const Case& the_case) {
    Result result;
    result.the_case = &the_case;
    mounted_ = false;
    leaked_ = false;
    const int64_t began_ns = MonotonicNowNs();
    UniqueFd socket = Reach(the_case, &result);
    if (pid_ > 0) result.before = FootprintOf(pid_);
    if (socket.ok() || the_case.victim.kind == VictimKind::kListener) {
      Mount(the_case, std::move(socket), &result);
      Judge(&result);
    }
    result.elapsed_ms = (MonotonicNowNs() - began_ns) / 1'000'000;
    child_.reset();
    return result;
  }

 private:
  // A connection to the target; sets pid_ and pidfd_ to its process.
  UniqueFd Reach(const Case& the_case, Result* result) {
    UniqueFd socket;
    if (!target_.exec.empty()) {
      socket = Start();
    } else if (!target_.connect.empty()) {
      auto connected = ConnectTo(target_.connect, Deadline::After(target_.patience));
      if (connected.ok()) socket = std::move(*connected).Release();
    } else {
      socket = Await(Deadline::After(target_.patience));
    }
    if (!socket.ok()) {
      result->verdict = Verdict::kWedged;
      result->why = "no connection within the patience";
      return socket;
    }
    if (target_.exec.empty()) {
      pid_ = PeerOf(socket.get());
      auto pidfd = OpenPidfd(pid_);
      pidfd_ = pidfd.ok() ? *std::move(pidfd) : UniqueFd();
    }
    if (the_case.victim.kind == VictimKind::kListener) socket.Reset();
    return socket;
  }

  UniqueFd Await(Deadline deadline) {
    while (!deadline.Expired()) {
      auto peer = listener_->TryAccept();
      if (peer.ok() && *peer) return std::move(**peer).Release();
      ::usleep(2000);
    }
    return UniqueFd();
  }

  UniqueFd Start() {
    auto sockets = PeerSocket::Pair();
    if (!sockets.ok()) return UniqueFd();
    const int theirs = sockets->second.fd();
    child_ = std::make_unique<Process>([&](Gate&) {
      const int inherited = ::fcntl(theirs, F_DUPFD, 3);
      ::setenv(kSocketVariable, std::to_string(inherited).c_str(), 1);
      std::vector<char*> arguments;
      for (const std::string& word : target_.exec) {
        // SAFETY: exec takes char*, and writes to none of them.
        arguments.push_back(const_cast<char*>(word.c_str()));
      }
      arguments.push_back(nullptr);
      ::execvp(arguments[0], arguments.data());
      return 127;
    });
    pid_ = child_->pid();
    pidfd_.Reset(::fcntl(child_->pidfd(), F_DUPFD_CLOEXEC, 3));
    return std::move(sockets->first).Release();
  }

  // Runs the attack for as long as it takes to have an effect, then ends the attacker.
  void Mount(const Case& the_case, UniqueFd socket, Result* result) {
    Notes* notes = NewNotes();
    Process attacker([&](Gate& gate) -> int {
      gate.Wait();
      Attacker a{*notes, std::move(socket), target_.connect, pid_,
                 Deadline::After(target_.patience)};
      the_case.attack(a);
      if (notes->mounted.load() == 0) a.CannotMount("the attack ended at once");
      Attacker::Stay();
    });
    socket.Reset();
    attacker.OpenGate();
    const Deadline at_most = Deadline::After(target_.patience + absl::Seconds(2));
    while (notes->mounted.load() == 0 && notes->gave_up.load() == 0 && !at_most.Expired() &&
           !ProcessHasEnded(attacker.pidfd())) {
      ::usleep(1000);
    }
    if (notes->mounted.load() != 0) ::usleep(300'000);
    if (pid_ > 0) result->after = FootprintOf(pid_);
    attacker.KillGroup();
    result->attacker = notes->Said();
    mounted_ = notes->mounted.load() != 0;
    leaked_ = notes->leaked.load() != 0;
  }

  bool Gone() const { return pidfd_.ok() && ProcessHasEnded(pidfd_.get()); }

  void Judge(Result* result) {
    result->verdict = Verdict::kFail;
    if (child_) {
      const auto status = child_->Reap(Deadline::After(target_.patience));
      result->exit = status ? WaitStatusText(*status) : "killed";
      result->victim = child_->printed().substr(0, 200);
      if (!status) {
        result->verdict = Verdict::kWedged;
        result->why = "still there when its peer had long been gone";
        return;
      }
      if (WIFSIGNALED(*status)) {
        result->why = "it crashed: " + result->exit;
        return;
      }
      if (const std::string report = SanitizerReport(child_->printed()); !report.empty()) {
        result->why = "a sanitizer's report: " + report;
        return;
      }
      const auto& good = target_.good_exits;
      if (std::find(good.begin(), good.end(), WEXITSTATUS(*status)) == good.end()) {
        result->why = "it ended with " + result->exit;
        return;
      }
    } else if (!target_.connect.empty()) {
      if (Gone()) {
        result->why = "its process has ended";
        return;
      }
      const std::string refusal = ServesAnHonestPeer();
      if (!refusal.empty()) {
        result->verdict = Verdict::kWedged;
        result->why = "an honest peer was not served: " + refusal;
        return;
      }
    } else if (!ConnectsAgain()) {
      result->verdict = Gone() ? Verdict::kFail : Verdict::kWedged;
      result->why = Gone() ? "its process has ended" : "it connects no more";
      return;
    }
    if (leaked_) {
      result->why = "the attacker got what it must not get: " + result->attacker;
    } else if (!mounted_) {
      result->verdict = Verdict::kSkip;
      result->why = "the attack got no further than: " + result->attacker;
    } else {
      const int64_t grown_kb = result->after.peak_resident_kb - result->before.peak_resident_kb;
      if (result->after.peak_resident_kb != 0 &&
          grown_kb > result->the_case->victim.peak_growth_kb) {
        result->why = std::to_string(grown_kb) + " kB of memory were used";
      } else {
        result->verdict = Verdict::kPass;
      }
    }
  }

  bool ConnectsAgain() const {
    const Deadline deadline = Deadline::After(target_.patience);
    pollfd entries[] = {{listener_->fd(), POLLIN, 0}, {pidfd_.get(), POLLIN, 0}};
    const auto ready = PollUntil(absl::MakeSpan(entries), deadline);
    return ready.ok() && entries[0].revents != 0;
  }

  std::string ServesAnHonestPeer() const {
    const Deadline deadline = Deadline::After(target_.patience);
    absl::Status last = absl::DeadlineExceededError("no answer");
    while (!deadline.Expired()) {
      for (const Direction direction :
           {Direction::kBoth, Direction::kSendOnly, Direction::kReceiveOnly}) {
        ConnectOptions options;
        options.direction = direction;
        options.format = target_.format;
        const auto channel = ConnectChannel(target_.connect, options, deadline);
        if (channel.ok()) return "";
        last = channel.status();
      }
      ::usleep(5000);
    }
    return last.ToString();
  }

  const Target& target_;
  std::optional<Listener> listener_;
  std::unique_ptr<Process> child_;
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  bool mounted_ = false;
  bool leaked_ = false;
};

}  // namespace

std::string SanitizerReport(const std::string& printed) {
  // As compiler-rt and libgcc write them: "==17==ERROR: AddressSanitizer: ...", "WARNING:
  // ThreadSanitizer: ...", and UBSan's "file.cc:3:5: runtime error: ...".
  for (const char* mark :
       {"AddressSanitizer", "ThreadSanitizer", "MemorySanitizer", "LeakSanitizer",
        "HWAddressSanitizer", "UndefinedBehaviorSanitizer", ": runtime error: "}) {
    const std::size_t at = printed.find(mark);
    if (at == std::string::npos) continue;
    const std::size_t newline = printed.rfind('\n', at);
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    return printed.substr(begin, std::min(printed.find('\n', at), begin + 200) - begin);
  }
  return "";
}

int AttackExitStatus(const std::vector<Result>& results, std::string* why) {
  int mounted = 0;
  for (const Result& r : results) {
    if (r.verdict == Verdict::kPass) ++mounted;
    if (r.verdict != Verdict::kFail && r.verdict != Verdict::kWedged) continue;
    *why = std::string(r.the_case->name) + ": " + r.why;
    return 1;
  }
  if (mounted != 0) return 0;
  *why = "no attack could be mounted, so that nothing was shown";
  return 1;
}

bool Applies(const Case& the_case, const Target& target) {
  if (the_case.victim.ours) return false;
  switch (the_case.victim.kind) {
    case VictimKind::kAccept:
      return !target.connect.empty() && !the_case.victim.confined;
    case VictimKind::kListener:
      return !target.connect.empty();
    case VictimKind::kConnect:
      return target.connect.empty() && !the_case.victim.confined;
    case VictimKind::kBlob:    // its message is no part of the handshake
    case VictimKind::kMedia:   // its records are this program's own
    case VictimKind::kFrames:  // what it does with an arena is as well
    case VictimKind::kJobs:    // so are jobs and requests
    case VictimKind::kRequestServer:
    case VictimKind::kRequestClient:
    case VictimKind::kStream:
    case VictimKind::kDial:  // it is this program that it would connect to
      return false;
  }
  return false;
}

void AttackAll(const Target& target, const std::vector<const Case*>& cases,
               const std::function<void(const Result&)>& on_result) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::signal(SIGPIPE, SIG_IGN);
  Siege siege(target);
  const std::string trouble = siege.Begin();
  for (const Case* the_case : cases) {
    Result result;
    result.the_case = the_case;
    const std::string missing = the_case->need != nullptr ? the_case->need() : "";
    if (!trouble.empty()) {
      result.why = trouble;
    } else if (!missing.empty()) {
      result.verdict = Verdict::kSkip;
      result.why = missing;
    } else {
      result = siege.Attack(*the_case);
    }
    on_result(result);
  }
  static_cast<void>(ReapEverything(Deadline::After(absl::Seconds(10))));
}

}  // namespace parley::villain
