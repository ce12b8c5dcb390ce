// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_SET_EVENT_LOOP_H_
#define PARLEY_WAIT_SET_EVENT_LOOP_H_

// Runs coroutines on a WaitSet: each serves its channel as if it had a thread of its own.
//
//   Task<void> Serve(EventLoop* loop, Channel channel) {
//     auto ends = AsyncChannel::Create(loop, std::move(channel));      // async_channel.h
//     while (ends.ok()) {
//       absl::StatusOr<Message> message = co_await ends->receiver.Next(In(60'000));
//       if (!message.ok()) co_return;                                  // ended, or slow
//       absl::Status sent = co_await ends->sender.Send(message->tag, message->bytes, In(1'000));
//       if (!sent.ok()) co_return;
//     }
//   }
//
//   loop->Spawn(Serve(loop, std::move(channel)));
//   loop->Run(Deadline::After(absl::Hours(1)));
//
// Write an await as a statement of its own, as here: g++ 12 makes a trap of
// `while ((co_await x).ok())`.
//
// What it costs: an await allocates nothing (its state lies in the coroutine's frame), and makes no
// system call of its own where what it waits for is there.
//
// Trust: as the WaitSet. A peer that always has a message ready gets kMaxAtOnce of them taken, then
// the others have their turn.
// Threads: one; WaitSet::Interrupt of set() from any.
// Lifetime: where the port or the loop ends before what a coroutine awaits has come, the coroutine
// is resumed with kCancelled: by the next round of the loop, or by the loop's destructor. A loop
// that has ended suspends nobody: what is awaited then is kCancelled at once. What the destructor's
// cancelled awaits do not bring to an end is destroyed where it is suspended.

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/deadline.h"
#include "parley/wait_set/task.h"
#include "parley/wait_set/timer_queue.h"
#include "parley/wait_set/wait_set.h"

namespace parley {
namespace internal {

class Executor;

// A list of awaiters, through themselves.
struct AwaiterLink {
  AwaiterLink* previous = this;
  AwaiterLink* next = this;
  bool alone() const { return next == this; }
  void Unlink() {
    previous->next = next;
    next->previous = previous;
    previous = next = this;
  }
  void LinkBefore(AwaiterLink* other) {
    Unlink();
    previous = other->previous;
    next = other;
    previous->next = this;
    other->previous = this;
  }
};

// What a suspended coroutine waits in: lies in its frame.
class Awaiter : private AwaiterLink {
 public:
  Awaiter() = default;
  Awaiter(const Awaiter&) = delete;
  Awaiter& operator=(const Awaiter&) = delete;

 protected:
  // Of a frame that is destroyed.
  ~Awaiter();
  const absl::Status& status() const { return status_; }
  void SetStatus(absl::Status status) { status_ = std::move(status); }

 private:
  friend class Executor;
  Executor* executor_ = nullptr;  // while it is suspended
  Awaiter** slot_ = nullptr;      // of the port that resumes it
  std::coroutine_handle<> handle_;
  Timer timer_{this};
  absl::Status status_;
};

// What a loop is without its tasks; ports keep it.
class Executor {
 public:
  explicit Executor(std::unique_ptr<WaitSet> set);
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Null: the loop has ended.
  WaitSet* set() const { return set_.get(); }
  bool closing() const { return closing_; }
  // `slot`, if any, is null again from the resumption on.
  void Suspend(Awaiter* awaiter, std::coroutine_handle<> handle, Awaiter** slot);
  // By the next round.
  void Schedule(Awaiter* awaiter, absl::Status status);
  void ScheduleAt(Awaiter* awaiter, Deadline when);
  // Now: from a handler of the set.
  void Resume(Awaiter* awaiter, absl::Status status);
  void Forget(Awaiter* awaiter);
  // Its port ends, and the coroutine is resumed by the next round.
  void PortEnds(Awaiter* awaiter) {
    awaiter->slot_ = nullptr;
    Schedule(awaiter, absl::CancelledError("the port was destroyed"));
  }
  // Resumes all with kCancelled, and suspends no more.
  void Close();
  void EndSet() { set_.reset(); }

 private:
  void Turn();
  void SetWake();

  std::unique_ptr<WaitSet> set_;
  Registration wake_;
  AwaiterLink suspended_;
  AwaiterLink ready_;
  TimerQueue timers_;
  bool closing_ = false;
};

class SleepAwaiter : public Awaiter {
 public:
  SleepAwaiter(Executor* executor, Deadline until) : executor_(executor), until_(until) {}
  bool await_ready() {
    if (executor_->closing()) SetStatus(absl::CancelledError("the loop has ended"));
    return executor_->closing();
  }
  void await_suspend(std::coroutine_handle<> handle) {
    executor_->Suspend(this, handle, nullptr);
    executor_->ScheduleAt(this, until_);
  }
  absl::Status await_resume() { return status(); }

 private:
  Executor* const executor_;
  const Deadline until_;
};

// The outermost coroutine of a task that nobody awaits.
struct Root {
  // NOLINTNEXTLINE(readability-identifier-naming): the language's name
  struct promise_type : AwaiterLink {
    promise_type(AwaiterLink* roots, std::size_t* count, Task<void>&) : count_(count) {
      LinkBefore(roots);
      ++*count_;
    }
    ~promise_type() {
      Unlink();
      --*count_;
    }
    Root get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::abort(); }
    std::size_t* const count_;
  };
};

}  // namespace internal

class EventLoop {
  struct Private {};

 public:
  // How many messages of one port a coroutine gets without a turn of the others.
  static constexpr int kMaxAtOnce = 16;

  // As WaitSet::Create.
  static absl::StatusOr<std::unique_ptr<EventLoop>> Create();
  EventLoop(Private, std::unique_ptr<WaitSet> set);
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  // Not in a coroutine that it runs, nor in a handler of its set.
  ~EventLoop();

  // Runs the task until it waits for something; the rest is Run's.
  void Spawn(Task<void> task);
  // How many have not ended.
  std::size_t tasks() const { return tasks_; }

  // Until no task is left (kHandlers), the deadline, or the set's Interrupt.
  WaitSet::Ran Run(Deadline deadline);
  // For other ports, descriptors and timers in the same loop, for Interrupt, and for RunOnce and
  // descriptor() in somebody else's loop.
  WaitSet& set() { return *executor_->set(); }

  // co_await loop->Sleep(until): absl::Status; kCancelled: the loop has ended.
  internal::SleepAwaiter Sleep(Deadline until) { return {executor_.get(), until}; }

  const std::shared_ptr<internal::Executor>& executor() const { return executor_; }

 private:
  const std::shared_ptr<internal::Executor> executor_;
  internal::AwaiterLink roots_;
  std::size_t tasks_ = 0;
};

}  // namespace parley

#endif  // PARLEY_WAIT_SET_EVENT_LOOP_H_
