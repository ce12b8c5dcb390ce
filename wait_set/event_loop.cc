// SPDX-License-Identifier: Apache-2.0
#include "parley/wait_set/event_loop.h"

namespace parley {
namespace internal {
namespace {

// How many coroutines of one kind (ready, or timers that expired) are resumed in a round.
constexpr int kMaxInARound = 256;

Root RunRoot(AwaiterLink*, std::size_t*, Task<void> task) { co_await task; }

}  // namespace

Awaiter::~Awaiter() {
  if (executor_ != nullptr) executor_->Forget(this);
}

Executor::Executor(std::unique_ptr<WaitSet> set) : set_(std::move(set)) {
  wake_ = set_->AddTimer([this](const absl::Status&) { Turn(); });
}

void Executor::Suspend(Awaiter* awaiter, std::coroutine_handle<> handle, Awaiter** slot) {
  awaiter->executor_ = this;
  awaiter->handle_ = handle;
  awaiter->slot_ = slot;
  awaiter->LinkBefore(&suspended_);
}

void Executor::Forget(Awaiter* awaiter) {
  awaiter->Unlink();
  timers_.Cancel(&awaiter->timer_);
  if (awaiter->slot_ != nullptr) *awaiter->slot_ = nullptr;
  awaiter->slot_ = nullptr;
  awaiter->executor_ = nullptr;
}

void Executor::Schedule(Awaiter* awaiter, absl::Status status) {
  awaiter->status_ = std::move(status);
  awaiter->LinkBefore(&ready_);
  SetWake();
}

void Executor::ScheduleAt(Awaiter* awaiter, Deadline when) {
  timers_.Set(&awaiter->timer_, when.monotonic_ns());
  SetWake();
}

void Executor::Resume(Awaiter* awaiter, absl::Status status) {
  awaiter->status_ = std::move(status);
  const std::coroutine_handle<> handle = awaiter->handle_;
  Forget(awaiter);
  handle.resume();
}

void Executor::Turn() {
  const int64_t now_ns = MonotonicNowNs();
  for (int i = 0; i < kMaxInARound; ++i) {
    Timer* const timer = timers_.PopExpired(now_ns);
    if (timer == nullptr) break;
    static_cast<Awaiter*>(timer->owner)->LinkBefore(&ready_);
  }
  for (int i = 0; i < kMaxInARound && !ready_.alone(); ++i) {
    Awaiter* const awaiter = static_cast<Awaiter*>(ready_.next);
    absl::Status status = awaiter->status_;
    Resume(awaiter, std::move(status));
  }
  SetWake();
}

void Executor::SetWake() {
  if (closing_) return;
  const int64_t at_ns = ready_.alone() ? timers_.next_ns() : 0;
  if (at_ns == TimerQueue::kNever) {
    wake_.Pause();
  } else {
    wake_.Resume(Deadline::AtMonotonicNs(at_ns));
  }
}

void Executor::Close() {
  closing_ = true;
  // Each resumption may end others, and suspends none.
  while (!ready_.alone() || !suspended_.alone()) {
    AwaiterLink& list = ready_.alone() ? suspended_ : ready_;
    Resume(static_cast<Awaiter*>(list.next), absl::CancelledError("the loop has ended"));
  }
}

}  // namespace internal

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  auto set = WaitSet::Create();
  if (!set.ok()) return set.status();
  return std::make_unique<EventLoop>(Private(), *std::move(set));
}

EventLoop::EventLoop(Private, std::unique_ptr<WaitSet> set)
    : executor_(std::make_shared<internal::Executor>(std::move(set))) {}

EventLoop::~EventLoop() {
  executor_->Close();
  // Those that wait for something that is no loop's.
  while (!roots_.alone()) {
    auto* const root = static_cast<internal::Root::promise_type*>(roots_.next);
    std::coroutine_handle<internal::Root::promise_type>::from_promise(*root).destroy();
  }
  executor_->EndSet();
}

void EventLoop::Spawn(Task<void> task) { internal::RunRoot(&roots_, &tasks_, std::move(task)); }

WaitSet::Ran EventLoop::Run(Deadline deadline) {
  while (tasks_ != 0) {
    const WaitSet::Ran ran = set().RunOnce(deadline);
    if (ran == WaitSet::Ran::kInterrupted) return ran;
    // Also where there is always something to do: a peer decides whether there is.
    if (tasks_ != 0 && deadline.Expired()) return WaitSet::Ran::kDeadline;
  }
  return WaitSet::Ran::kHandlers;
}

}  // namespace parley
