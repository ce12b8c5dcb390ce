// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "parley/boundary/violation.h"
#include "parley/os/check.h"
#include "parley/os/pidfd.h"
#include "parley/villain/old_kernel.h"

namespace parley::villain {
namespace {

// For an attack to be on its way: milliseconds, but for a machine that has a lot else to do.
constexpr absl::Duration kMounting = absl::Seconds(60);
// A session has met an attack after so many calls of its own, or never.
constexpr uint64_t kCallsToMeet = 10;
constexpr int64_t kMeetingNs = 4000 * kMsNs;
// How long a call that is late already is watched, to tell one that comes back from one that does
// not. No verdict depends on it: neither passes.
constexpr int64_t kWatchNs = 5000 * kMsNs;
// For the victim to end once it was told to, beyond what the machine is late by: a process without
// work of its own that closes its descriptors. A sanitizer looks for leaks then.
constexpr int64_t kExitNs = 500 * kMsNs;
// Helpers that a victim may leave behind: those of sealing/seal_shared.h for one maker, and those
// of os/disposal.h. And how many descriptors each may hold: what it seals, or closes.
constexpr std::size_t kMaxLeftBehind = 4 + 8;
constexpr int kMaxHeldByHelper = 2;

// A Result without pointers, for the page that a case's supervisor leaves to its parent.
struct Sheet {
  uint32_t complete;
  Verdict verdict;
  char why[400];
  char attacker[400];
  char victim[400];
  End end;
  char exit[32];
  Footprint before;
  Footprint after;
  int64_t max_call_ms;
  int64_t max_late_ms;
  int64_t control_late_ms;
  int64_t taken_us;
  int64_t max_call_cpu_us;
  int64_t elapsed_ms;
  uint64_t calls;
  uint64_t messages;
};

template <std::size_t kSize>
void Put(char (&to)[kSize], const std::string& text) {
  const std::size_t size = std::min(text.size(), kSize - 1);
  std::memcpy(to, text.data(), size);
  to[size] = '\0';
}

std::string EndsText(uint32_t ends) {
  std::string text;
  for (uint32_t bit = 1; bit <= static_cast<uint32_t>(End::kWrong); bit <<= 1) {
    if ((ends & bit) == 0) continue;
    if (!text.empty()) text += " or ";
    text += EndText(static_cast<End>(bit));
  }
  return text;
}

// One case, in a process of its own.
class Trial {
 public:
  Trial(const Case& the_case, const RunOptions& options, Sheet* sheet)
      : case_(the_case), options_(options), sheet_(sheet), setup_(the_case.victim) {
    // A careless victim waits without any deadline: no use in a generous one.
    if (options.implementation == Implementation::kNaive) {
      setup_.handshake = std::min(setup_.handshake, absl::Seconds(1));
    }
  }

  void Run() {
    // First, so that it has none of the sockets of the others.
    control_ = std::make_unique<LatenessControl>();
    Prepare();
    Start();
    Watch();
    Measure();
    Judge();
    attacker_->KillGroup();
    Conclude();
  }

 private:
  bool has_socket() const {
    return case_.victim.kind != VictimKind::kListener && case_.victim.kind != VictimKind::kDial;
  }
  bool has_client() const {
    return case_.victim.kind == VictimKind::kListener && case_.victim.client;
  }
  bool HasSession() const { return has_socket() && case_.victim.kind != VictimKind::kBlob; }

  void Prepare() {
    victim_notes_ = NewNotes();
    attacker_notes_ = NewNotes();
    victim_pid_ = static_cast<std::atomic<pid_t>*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    name_ = "@parley-villain-" + std::to_string(::getpid());
    if (has_socket()) {
      const bool careful = options_.implementation == Implementation::kHonest &&
                           !options_.old_kernel && !case_.victim.foreign_pair;
      if (careful && case_.victim.kind != VictimKind::kBlob) {
        auto sockets = PeerSocket::Pair();
        PARLEY_CHECK(sockets.ok(), "socketpair");
        victims_socket_ = std::move(sockets->first).Release();
        attackers_socket_ = std::move(sockets->second).Release();
      } else {
        // As anybody makes one: descriptors can be sent at once.
        int ends[2];
        const int made = ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
        PARLEY_CHECK(made == 0, "socketpair");
        victims_socket_.Reset(ends[0]);
        attackers_socket_.Reset(ends[1]);
      }
    }
  }

  void Start() {
    attacker_ = std::make_unique<Process>([&](Gate& gate) { return BeAttacker(gate); });
    attackers_socket_.Reset();
    victim_ = std::make_unique<Process>([&](Gate& gate) { return BeVictim(gate); });
    victims_socket_.Reset();
    victim_pid_->store(victim_->pid());
    if (has_client()) {
      client_ = std::make_unique<Process>([&](Gate& gate) {
        gate.Wait();
        return RunHonestClient(name_, case_.victim.client_within);
      });
    }
    const Deadline soon = Deadline::After(absl::Seconds(10));
    while (victim_notes_->stage.load() != Stage::kReady && !soon.Expired()) ::usleep(500);
    while (control_->samples() == 0 && !soon.Expired()) ::usleep(500);
    sheet_->before = FootprintOf(victim_->pid());
    delay_before_ns_ = DelayOf(victim_->pid());
    began_ns_ = MonotonicNowNs();
    attacker_->OpenGate();
    const Deadline late = Deadline::After(absl::Seconds(5));
    while (case_.victim.late && attacker_notes_->mounted.load() == 0 && !late.Expired()) {
      ::usleep(500);
    }
    victim_->OpenGate();
  }

  int BeAttacker(Gate& gate) {
    // Nothing of the supervisor's or the victim's is left in here.
    victims_socket_.Reset();
    ::munmap(victim_notes_, sizeof(Notes));
    gate.Wait();
    NoteCrashesIn(*attacker_notes_);
    Attacker attacker{*attacker_notes_,
                      std::move(attackers_socket_),
                      name_,
                      victim_pid_->load(),
                      Deadline::After(kMounting),
                      options_.implementation == Implementation::kHonest};
    case_.attack(attacker);
    if (attacker_notes_->mounted.load() == 0) attacker.CannotMount("the attack ended at once");
    Attacker::Stay();
  }

  int BeVictim(Gate& gate) {
    ::munmap(attacker_notes_, sizeof(Notes));
    const int peer_pidfd = attacker_->pidfd();
    Victim victim{*victim_notes_, setup_, std::move(victims_socket_), name_, peer_pidfd, gate.fd()};
    // A victim that confines itself may not look at this any more.
    if (setup_.confinement == Confinement::kNone) WatchThreadDelay();
    if (case_.victim.spare_descriptors >= 0) {
      const UniqueFd lowest(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0));
      const auto most =
          static_cast<rlim_t>(lowest.get()) + static_cast<rlim_t>(case_.victim.spare_descriptors);
      const rlimit limit = {most, most};
      ::setrlimit(RLIMIT_NOFILE, &limit);
    }
    PARLEY_CHECK(!options_.old_kernel || ForgetNewKernels(), "no filter (seccomp)");
    victim_notes_->stage.store(Stage::kReady);
    gate.Wait();
    victim_notes_->stage.store(Stage::kRunning);
    if (options_.implementation == Implementation::kHonest) {
      RunHonestVictim(victim);
    } else {
      RunNaiveVictim(victim);
    }
    victim.socket.Reset();
    victim_notes_->NoteTheEnd();
    victim_notes_->stage.store(Stage::kDone);
    gate.Wait();
    return 0;
  }

  // Until the victim is done, has ended, or is late.
  void Watch() {
    const bool may_be_served = (case_.allowed & static_cast<uint32_t>(End::kServed)) != 0;
    const int64_t enough_ns =
        may_be_served ? absl::ToInt64Nanoseconds(case_.victim.attack_time) : 4000 * kMsNs;
    const int64_t at_most_ns = absl::ToInt64Nanoseconds(kMounting) + 5000 * kMsNs + kWatchNs;
    int64_t mounted_ns = 0;
    uint64_t calls_before = 0;
    bool client_started = false;
    while (true) {
      const int64_t now_ns = MonotonicNowNs();
      if (mounted_ns == 0 && attacker_notes_->mounted.load() != 0) {
        mounted_ns = now_ns;
        calls_before = victim_notes_->calls.load();
      }
      if (client_ && !client_started && mounted_ns != 0 && now_ns - mounted_ns > 50 * kMsNs) {
        client_->OpenGate();
        client_started = true;
      }
      if (client_started && !client_status_) {
        client_status_ = client_->Reap(Deadline::AtMonotonicNs(0));
      }
      const bool client_done = !client_ || client_status_.has_value();
      const bool decided =
          attacker_notes_->gave_up.load() != 0 || attacker_notes_->leaked.load() != 0;
      const bool long_enough = mounted_ns != 0 && now_ns - mounted_ns > enough_ns && client_done;
      // On a busy machine the time may be over before the victim has met the attack.
      const bool met = !HasSession() || now_ns - mounted_ns > kMeetingNs ||
                       victim_notes_->calls.load() - calls_before >= kCallsToMeet;
      if ((long_enough && met) || decided) victim_notes_->enough.store(1);
      if (ProcessHasEnded(victim_->pidfd())) return;
      if (victim_notes_->stage.load() == Stage::kDone) break;
      const int64_t call_ns = victim_notes_->call_began_ns.load();
      const int64_t due_ns =
          std::max(victim_notes_->call_deadline_ns.load(), victim_notes_->held_until_ns.load());
      if (call_ns != 0 && now_ns > due_ns + kWatchNs) {
        wedged_ = std::string(victim_notes_->call_name.load()) + " outlived its deadline by " +
                  std::to_string(kWatchNs / kMsNs) + " ms and is still there";
        return;
      }
      if (now_ns - began_ns_ > at_most_ns) {
        wedged_ = "the victim did not end its session";
        return;
      }
      ::usleep(1000);
    }
    // The victim may be quicker than the attacker's note.
    const Deadline grace = Deadline::After(absl::Seconds(3));
    while (attacker_notes_->mounted.load() == 0 && attacker_notes_->gave_up.load() == 0 &&
           !grace.Expired()) {
      ::usleep(1000);
    }
  }

  void Measure() {
    sheet_->elapsed_ms = (MonotonicNowNs() - began_ns_) / kMsNs;
    sheet_->after = FootprintOf(victim_->pid());
    sheet_->max_call_ms = victim_notes_->max_call_ns.load() / kMsNs;
    sheet_->max_late_ms = victim_notes_->max_late_ns.load() / kMsNs;
    delay_ns_ = DelayOf(victim_->pid()) - delay_before_ns_;
    sheet_->control_late_ms = control_->max_ns() / kMsNs;
    sheet_->taken_us = TakenNs() / 1000;
    sheet_->max_call_cpu_us = victim_notes_->max_session_cpu_ns.load() / 1000;
    sheet_->calls = victim_notes_->calls.load();
    sheet_->messages = victim_notes_->messages.load();
    sheet_->end = victim_notes_->end.load();
    Put(sheet_->attacker, attacker_notes_->Said());
    Put(sheet_->victim, victim_notes_->Said());
  }

  // Empty, or what is wrong with the processes that the victim has left behind: helpers that hang
  // in the kernel because of the attacker, which are few, and hold nothing but what they hang on.
  std::string LeftBehind() const {
    std::vector<pid_t> known = {attacker_->pid(), control_->pid()};
    if (client_) known.push_back(client_->pid());
    std::vector<pid_t> left;
    const Deadline moment = Deadline::After(absl::Milliseconds(300));
    do {
      left = ProcessesBeside(known);
      if (left.empty()) return "";
      ::usleep(2000);
    } while (!moment.Expired());
    if (left.size() > kMaxLeftBehind) {
      return "the victim left " + std::to_string(left.size()) + " processes behind";
    }
    for (const pid_t pid : left) {
      const int held = FootprintOf(pid).descriptors;
      if (held > kMaxHeldByHelper) {
        return "a process that the victim left behind holds " + std::to_string(held) +
               " descriptors";
      }
    }
    return "";
  }

  // What the peer took of the victim's processor time beside the costliest call.
  int64_t TakenNs() const {
    const Notes& notes = *victim_notes_;
    const int64_t session_ns = notes.session_ended_ns.load() - notes.session_began_ns.load();
    const auto messages = static_cast<int64_t>(notes.messages.load());
    // Only calls that wait for something spin.
    const bool spins = setup_.style == Style::kBlocking || setup_.style == Style::kTwoThreads;
    const int64_t ordinary_ns = messages * kMessageNs + (spins ? session_ns / kSpinPart : 0);
    return notes.session_cpu_ns.load() - notes.max_session_cpu_ns.load() -
           ordinary_ns * (IsSanitizedBuild() ? 20 : 1);
  }

  // Empty, or how a call outlived its deadline, or what all of them cost.
  std::string JudgeTime() const {
    const Notes& notes = *victim_notes_;
    const auto name = [](const std::atomic<const char*>& literal) {
      return std::string(literal.load() != nullptr ? literal.load() : "a call");
    };
    const int64_t control_ns = control_->max_ns();
    if (control_->samples() == 0) return "the control measured nothing";
    // A Try call has no deadline but "at once": the one that crosses the line for processor time is
    // as late as that.
    const bool spins = setup_.style == Style::kBlocking || setup_.style == Style::kTwoThreads;
    // A victim that was stopped by a signal went on when it was continued. One that is confined
    // can't look at its own delay: then all of it counts.
    const int64_t held_ns = 2 * attacker_notes_->max_stop_ns.load() +
                            (setup_.confinement != Confinement::kNone ? delay_ns_ : 0) +
                            (spins ? 0 : notes.max_session_cpu_ns.load());
    if (notes.max_unexplained_ns.load() > control_ns + held_ns + kSmallLatenessNs) {
      return name(notes.latest_name) + " ended " +
             std::to_string(notes.max_unexplained_ns.load() / kMsNs) +
             " ms after its deadline; the machine itself was late by " +
             std::to_string(control_ns / kMsNs) + " ms";
    }
    if (const uint64_t work = notes.max_messages_in_call.load(); work > 1) {
      return "one call took " + std::to_string(work) + " messages";
    }
    const uint64_t max_empty =
        setup_.style == Style::kEventLoop
            ? MaxEmptyReturnsOfALoop(notes.session_ended_ns.load() - notes.session_began_ns.load(),
                                     notes.messages.load())
            : kMaxEmptyReturns;
    if (const uint64_t empty = notes.empty_returns.load(); empty > max_empty) {
      return "waits came back " + std::to_string(empty) + " times with nothing, before they had to";
    }
    if (setup_.signaller && notes.max_session_cpu_ns.load() > kMaxTakenIfSparedNs) {
      return name(notes.costliest_name) + " took " +
             std::to_string(notes.max_session_cpu_ns.load() / kMsNs) +
             " ms of processor time, though another thread signals";
    }
    if (TakenNs() > (setup_.signaller ? kMaxTakenIfSparedNs : kMaxTakenNs)) {
      return "signalling and being woken took " + std::to_string(TakenNs() / kMsNs) +
             " ms of processor time in " + std::to_string(notes.calls.load()) +
             " calls, and the costliest (" + name(notes.costliest_name) + ") " +
             std::to_string(notes.max_session_cpu_ns.load() / kMsNs) + " ms";
    }
    return "";
  }

  // Lets the victim end by itself, then the exit status.
  std::string ExitOfVictim() {
    if (!wedged_.empty()) {
      // A process that waits for something of the attacker's dies only after it.
      attacker_->KillGroup();
      victim_->KillGroup();
      static_cast<void>(victim_->Reap(Deadline::After(absl::Seconds(10))));
      return "killed";
    }
    victim_->OpenGate();
    const int64_t soon_ns = kExitNs + control_->max_ns() + 10 * kSmallLatenessNs;
    const auto status = victim_->Reap(Deadline::After(absl::Nanoseconds(soon_ns)));
    if (status) return WaitStatusText(*status);
    wedged_ = "the victim's exit hangs";
    attacker_->KillGroup();
    victim_->KillGroup();
    return "killed";
  }

  void Judge() {
    const std::string exit = ExitOfVictim();
    const std::string left = LeftBehind();
    Put(sheet_->exit, exit);
    sheet_->verdict = Verdict::kFail;
    const Footprint& before = sheet_->before;
    const Footprint& after = sheet_->after;
    const int max_descriptors =
        before.descriptors - (has_socket() ? 1 : 0) + case_.victim.max_helpers;
    const int64_t peak_kb = after.peak_resident_kb - before.peak_resident_kb;
    const int64_t cpu_ms = after.cpu_ms - before.cpu_ms;
    const int64_t cpu_limit_ms = 200 + sheet_->elapsed_ms * case_.victim.cpu_percent / 100;
    const bool honest = options_.implementation == Implementation::kHonest;
    const std::string late = JudgeTime();
    std::string why;
    if (!wedged_.empty()) {
      sheet_->verdict = Verdict::kWedged;
      why = wedged_;
    } else if (exit != "exit 0") {
      why = "the victim crashed: " + exit + " " + victim_->printed().substr(0, 300);
    } else if (const int signal = attacker_notes_->crashed.load(); signal != 0) {
      why = "the attack could not be mounted: its attacker crashed with signal " +
            std::to_string(signal) + "; it said: " + attacker_notes_->Said();
    } else if (attacker_notes_->leaked.load() != 0) {
      why = "the attacker got what it must not get: " + attacker_notes_->Said();
    } else if (attacker_notes_->mounted.load() == 0) {
      why = "the attack could not be mounted: " + attacker_notes_->Said();
    } else if ((case_.allowed & static_cast<uint32_t>(sheet_->end)) == 0) {
      why = std::string("the victim's end was \"") + EndText(sheet_->end) + "\" in place of \"" +
            EndsText(case_.allowed) + "\": " + victim_notes_->Said();
    } else if (client_ && (!client_status_ || *client_status_ != 0)) {
      why = "an honest client was not served within " +
            absl::FormatDuration(case_.victim.client_within);
    } else if (!late.empty()) {
      why = late;
    } else if (case_.victim.max_calls != 0 && sheet_->calls > case_.victim.max_calls) {
      why = std::to_string(sheet_->calls) + " calls, because each came back at once";
    } else if (!left.empty()) {
      why = left;
    } else if (after.descriptors > max_descriptors) {
      why = std::to_string(after.descriptors - max_descriptors) + " descriptors leaked";
    } else if (after.memfd_mappings > before.memfd_mappings) {
      why = std::to_string(after.memfd_mappings - before.memfd_mappings) + " mappings leaked";
    } else if (peak_kb > case_.victim.peak_growth_kb) {
      why = std::to_string(peak_kb) + " kB of memory were used at the peak";
    } else if (cpu_ms > cpu_limit_ms) {
      why = std::to_string(cpu_ms) + " ms of processor time in " +
            std::to_string(sheet_->elapsed_ms) + " ms";
    } else if (honest && victim_->printed_bytes() != 0) {
      why = "the library printed: " + victim_->printed().substr(0, 200);
    } else {
      sheet_->verdict = Verdict::kPass;
    }
    Put(sheet_->why, why);
  }

  void Conclude() {
    client_.reset();
    attacker_.reset();
    victim_.reset();
    control_.reset();
    if (!ReapEverything(Deadline::After(absl::Seconds(10)))) {
      sheet_->verdict = Verdict::kWedged;
      Put(sheet_->why, "a process could not be killed");
    }
    sheet_->complete = 1;
  }

  const Case& case_;
  const RunOptions& options_;
  Sheet* sheet_;
  VictimSetup setup_;
  Notes* victim_notes_ = nullptr;
  Notes* attacker_notes_ = nullptr;
  std::atomic<pid_t>* victim_pid_ = nullptr;
  std::string name_;
  UniqueFd victims_socket_;
  UniqueFd attackers_socket_;
  std::unique_ptr<LatenessControl> control_;
  std::unique_ptr<Process> attacker_;
  std::unique_ptr<Process> victim_;
  std::unique_ptr<Process> client_;
  std::optional<int> client_status_;
  int64_t began_ns_ = 0;
  int64_t delay_before_ns_ = 0;
  int64_t delay_ns_ = 0;  // of the victim's main thread, while it was attacked
  std::string wedged_;
};

struct Running {
  const Case* the_case;
  Sheet* sheet;
  pid_t pid;
  Deadline at_most;
};

Running StartTrial(const Case& the_case, const RunOptions& options) {
  void* page =
      ::mmap(nullptr, sizeof(Sheet), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  PARLEY_CHECK(page != MAP_FAILED, "mmap");
  auto* sheet = static_cast<Sheet*>(page);
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  PARLEY_CHECK(pid >= 0, "fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ::signal(SIGPIPE, SIG_IGN);
    Trial(the_case, options, sheet).Run();
    ::_exit(0);
  }
  return {&the_case, sheet, pid, Deadline::After(3 * kMounting)};
}

Result Collect(const Running& running) {
  const Sheet& sheet = *running.sheet;
  Result result;
  result.the_case = running.the_case;
  if (sheet.complete == 0) {
    result.why = "the case's supervisor ended without a verdict";
  } else {
    result.verdict = sheet.verdict;
    result.why = sheet.why;
    result.attacker = sheet.attacker;
    result.victim = sheet.victim;
    result.end = sheet.end;
    result.exit = sheet.exit;
    result.before = sheet.before;
    result.after = sheet.after;
    result.max_call_ms = sheet.max_call_ms;
    result.max_late_ms = sheet.max_late_ms;
    result.control_late_ms = sheet.control_late_ms;
    result.taken_us = sheet.taken_us;
    result.max_call_cpu_us = sheet.max_call_cpu_us;
    result.elapsed_ms = sheet.elapsed_ms;
    result.calls = sheet.calls;
    result.messages = sheet.messages;
  }
  ::munmap(running.sheet, sizeof(Sheet));
  return result;
}

}  // namespace

const char* ToString(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "PASS";
    case Verdict::kFail:
      return "FAIL";
    case Verdict::kWedged:
      return "WEDGED";
    case Verdict::kSkip:
      return "SKIP";
  }
  return "?";
}

std::vector<Result> RunCases(const std::vector<const Case*>& cases, const RunOptions& options,
                             const std::function<void(const Result&)>& on_result) {
  std::vector<Result> results;
  std::list<Running> running;
  const auto finish = [&](Result result) {
    on_result(result);
    results.push_back(std::move(result));
  };
  auto next = cases.begin();
  while (next != cases.end() || !running.empty()) {
    if (next != cases.end() && running.size() < static_cast<std::size_t>(options.jobs)) {
      const Case& the_case = **next++;
      const std::string missing = the_case.need != nullptr ? the_case.need() : "";
      if (missing.empty()) {
        running.push_back(StartTrial(the_case, options));
      } else {
        Result skipped;
        skipped.the_case = &the_case;
        skipped.verdict = Verdict::kSkip;
        skipped.why = missing;
        finish(std::move(skipped));
      }
      continue;
    }
    for (auto it = running.begin(); it != running.end();) {
      if (::waitpid(it->pid, nullptr, WNOHANG) == it->pid) {
        finish(Collect(*it));
        it = running.erase(it);
        continue;
      }
      if (it->at_most.Expired()) ::kill(it->pid, SIGKILL);
      ++it;
    }
    ::usleep(1000);
  }
  return results;
}

}  // namespace parley::villain
