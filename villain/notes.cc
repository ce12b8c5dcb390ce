// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/notes.h"

#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "parley/os/check.h"
#include "parley/os/thread_cpu.h"
#include "parley/villain/lateness.h"

namespace parley::villain {
namespace {

thread_local int64_t delay_at_last_end_ns = 0;
std::atomic<int>* crash_note = nullptr;

}  // namespace

const char* EndText(End end) {
  switch (end) {
    case End::kNone:
      return "nothing";
    case End::kRefused:
      return "refused";
    case End::kPoisoned:
      return "poisoned";
    case End::kTimedOut:
      return "gave up in time";
    case End::kPeerGone:
      return "peer gone";
    case End::kStreamEnded:
      return "stream ended";
    case End::kServed:
      return "unaffected";
    case End::kWrong:
      return "WRONG";
  }
  return "?";
}

void Notes::Say(const std::string& sentence) {
  const std::size_t size = std::min(sentence.size(), sizeof(text) - 1);
  std::memcpy(text, sentence.data(), size);
  text[size] = '\0';
}

std::string Notes::Said() const { return std::string(text, ::strnlen(text, sizeof(text))); }

void Notes::Finish(End how, const std::string& sentence) {
  Say(sentence);
  end.store(how);
}

void Notes::NoteTheEnd() {
  if (last_call_ended_ns.load() == 0) return;
  const int64_t took_ns = MonotonicNowNs() - last_call_ended_ns.load();
  const int64_t unexplained_ns = took_ns - (ThreadDelayNs() - delay_at_last_end_ns);
  if (unexplained_ns <= max_unexplained_ns.load()) return;
  max_unexplained_ns.store(unexplained_ns);
  latest_name.store("the end of the session");
}

Notes* NewNotes() {
  void* page =
      ::mmap(nullptr, sizeof(Notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  PARLEY_CHECK(page != MAP_FAILED, "mmap");
  // SAFETY: a fresh page of zeros, and Notes is made of lock-free atomics and characters.
  return static_cast<Notes*>(page);
}

void NoteCrashesIn(Notes& notes) {
  crash_note = &notes.crashed;
  struct sigaction action = {};
  action.sa_handler = [](int number) { crash_note->store(number); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the fault comes again, and ends the process
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) {
    ::sigaction(number, &action, nullptr);
  }
}

Call::Call(Notes& notes, const char* name, Deadline deadline, CallKind kind)
    : notes_(notes),
      name_(name),
      deadline_(deadline),
      kind_(kind),
      messages_before_(notes.messages.load()),
      began_delay_ns_(ThreadDelayNs()),
      began_cpu_ns_(ThreadCpuNs()),
      began_ns_(MonotonicNowNs()) {
  if (notes_.session_began_ns.load() == 0 && kind == CallKind::kSession) {
    notes_.session_began_ns.store(began_ns_);
  }
  notes_.call_name.store(name);
  notes_.call_deadline_ns.store(deadline.monotonic_ns());
  notes_.call_began_ns.store(began_ns_);
  notes_.calls.fetch_add(1);
}

Call::~Call() {
  const int64_t now_ns = MonotonicNowNs();
  const int64_t cpu_ns = ThreadCpuNs() - began_cpu_ns_;
  notes_.call_began_ns.store(0);
  notes_.last_call_ended_ns.store(now_ns);
  delay_at_last_end_ns = ThreadDelayNs();
  notes_.max_call_ns.store(std::max(notes_.max_call_ns.load(), now_ns - began_ns_));
  const int64_t due_ns = std::max(deadline_.monotonic_ns(), notes_.held_until_ns.load());
  const int64_t late_ns = now_ns - due_ns;
  notes_.max_late_ns.store(std::max(notes_.max_late_ns.load(), late_ns));
  const int64_t unexplained_ns = late_ns - (ThreadDelayNs() - began_delay_ns_);
  if (unexplained_ns > notes_.max_unexplained_ns.load()) {
    notes_.max_unexplained_ns.store(unexplained_ns);
    notes_.latest_name.store(name_);
  }
  const uint64_t messages = notes_.messages.load() - messages_before_;
  notes_.max_messages_in_call.store(std::max(notes_.max_messages_in_call.load(), messages));
  if (kind_ != CallKind::kSession) return;
  notes_.session_ended_ns.store(now_ns);
  notes_.session_cpu_ns.fetch_add(cpu_ns);
  if (cpu_ns > notes_.max_session_cpu_ns.load()) {
    notes_.max_session_cpu_ns.store(cpu_ns);
    notes_.costliest_name.store(name_);
  }
}

}  // namespace parley::villain
