// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_NOTES_H_
#define PARLEY_VILLAIN_NOTES_H_

// What one process of a case says about itself, in a page that it shares with its supervisor alone:
// where it is, which call it is in since when, and how it ended.
//
// Trust: the supervisor believes a victim's notes about its own results, because the victim is
// ours, and measures everything else from outside. A victim that corrupts its own page gets a FAIL.
// Threads: one writer for each page; the supervisor reads, and writes `enough`.
//
//   Call call(notes, "Receive", Deadline::After(absl::Milliseconds(30)));
//   auto record = channel.receiver.Receive(buffer, call.deadline());

#include <atomic>
#include <cstdint>
#include <string>

#include "parley/os/deadline.h"

namespace parley::villain {

enum class Stage : uint32_t { kStarting, kReady, kRunning, kDone };

// How a victim's session went, as the victim saw it.
enum class End : uint32_t {
  kNone = 0,
  kRefused = 1 << 0,      // no channel came to be
  kPoisoned = 1 << 1,     // the channel was ended because the peer broke the protocol
  kTimedOut = 1 << 2,     // no channel within the deadline, which was kept
  kPeerGone = 1 << 3,     // the peer's end was noticed
  kStreamEnded = 1 << 4,  // the peer closed in order
  kServed = 1 << 5,       // unaffected until the supervisor had seen enough
  kWrong = 1 << 6,        // wrong data, or an answer that no call may give
};
constexpr uint32_t operator|(End a, End b) {
  return static_cast<uint32_t>(a) | static_cast<uint32_t>(b);
}
constexpr uint32_t operator|(uint32_t a, End b) { return a | static_cast<uint32_t>(b); }
// "REFUSED" and so on, never null.
const char* EndText(End end);

struct Notes {
  std::atomic<Stage> stage;
  std::atomic<uint32_t> enough;      // to a victim: the attack has been on for long enough
  std::atomic<uint32_t> mounted;     // of an attacker: the attack is really going on
  std::atomic<uint32_t> gave_up;     // of an attacker: it could not mount the attack
  std::atomic<uint32_t> leaked;      // of an attacker: it got what it must not get
  std::atomic<int> crashed;          // of an attacker: the signal that one of its processes died of
  std::atomic<int64_t> max_stop_ns;  // of an attacker: how long it kept the victim stopped at once
  std::atomic<End> end;
  std::atomic<uint32_t> violation;
  std::atomic<uint64_t> calls;
  std::atomic<uint64_t> messages;
  std::atomic<int64_t> call_began_ns;  // 0: in no call
  std::atomic<int64_t> call_deadline_ns;
  std::atomic<int64_t> max_call_ns;
  std::atomic<int64_t> held_until_ns;  // by the supervisor, with SIGSTOP: no deadline before that
  std::atomic<int64_t> max_late_ns;    // after its deadline
  // The same without the time in which the thread was ready to run and did not: what the machine's
  // scheduling does not explain. And the name of that call, a literal.
  std::atomic<int64_t> max_unexplained_ns;
  std::atomic<const char*> latest_name;
  // Processor time in the calls of a session (CallKind::kSession), and the costliest of them.
  std::atomic<int64_t> session_cpu_ns;
  std::atomic<int64_t> max_session_cpu_ns;
  std::atomic<const char*> costliest_name;  // a literal
  std::atomic<uint64_t> max_messages_in_call;
  // Calls that came back before their deadline with nothing, which makes a busy loop of their
  // caller.
  std::atomic<uint64_t> empty_returns;
  std::atomic<int64_t> last_call_ended_ns;
  std::atomic<int64_t> session_began_ns;
  std::atomic<int64_t> session_ended_ns;
  std::atomic<const char*> call_name;  // a literal: the same in a forked supervisor
  char text[400];                      // one sentence

  void Say(const std::string& sentence);
  std::string Said() const;
  void Finish(End how, const std::string& sentence);
  // What the session's own destructors took behind its last call counts as a call that is late.
  void NoteTheEnd();
};

// A zeroed page; it lives as long as the process.
Notes* NewNotes();

// From now on a fault of this process, or of one that it forks, is noted before it ends it. A case
// whose attacker crashed shows nothing.
void NoteCrashesIn(Notes& notes);

// What a call's processor time is counted as: the work of a handshake or of a blob is bounded by
// its size, that of a session by what was sent and received.
enum class CallKind { kSetUp, kSession };

// A call of the code under attack, as the watchdog sees it: its time and its processor time.
class Call {
 public:
  Call(Notes& notes, const char* name, Deadline deadline, CallKind kind = CallKind::kSession);
  Call(const Call&) = delete;
  ~Call();
  Deadline deadline() const { return deadline_; }
  // To be told before it ends: the call brought nothing, and no end either.
  void BroughtNothing() {
    if (!deadline_.Expired()) notes_.empty_returns.fetch_add(1);
  }

 private:
  Notes& notes_;
  const char* const name_;
  const Deadline deadline_;
  const CallKind kind_;
  const uint64_t messages_before_;
  const int64_t began_delay_ns_;
  const int64_t began_cpu_ns_;
  const int64_t began_ns_;
};

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_NOTES_H_
