// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_SET_TASK_H_
#define PARLEY_WAIT_SET_TASK_H_

// A coroutine that another one awaits, or that an EventLoop runs (wait_set/event_loop.h). It starts
// when it is awaited, and is awaited once. What fails is a value: an exception ends the process,
// and none is needed (-fno-exceptions).
//
// Trust: nothing of the peer's comes in here.
// Threads: that of the loop.
// Lifetime: a task that is destroyed before it ended takes its frame with it, and what that awaits.
//
//   Task<absl::Status> Greet(AsyncSender& sender) {
//     co_return co_await sender.Send(1, Bytes("hello"), Deadline::After(absl::Seconds(1)));
//   }

#include <coroutine>
#include <cstdlib>
#include <optional>
#include <utility>

namespace parley {

template <typename T>
class Task;

namespace internal {

class TaskPromiseBase {
 public:
  std::suspend_always initial_suspend() noexcept { return {}; }
  struct Final {
    bool await_ready() noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> self) noexcept {
      TaskPromiseBase& promise = self.promise();
      promise.done_ = true;
      // Its caller may destroy this frame: nothing of it is touched after this.
      if (promise.awaited_) promise.continuation_.resume();
    }
    void await_resume() noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::abort(); }

  // Runs the task. True: it has not ended, and resumes `continuation` when it does. False: it has,
  // so that a loop over tasks that end at once needs no stack for each, on any compiler.
  template <typename Promise>
  bool Start(std::coroutine_handle<Promise> self, std::coroutine_handle<> continuation) {
    continuation_ = continuation;
    self.resume();
    awaited_ = !done_;
    return awaited_;
  }

 private:
  std::coroutine_handle<> continuation_;
  bool awaited_ = false;
  bool done_ = false;
};

template <typename T>
class TaskPromise : public TaskPromiseBase {
 public:
  Task<T> get_return_object() noexcept;
  template <typename U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T Take() { return *std::move(value_); }

 private:
  std::optional<T> value_;
};

template <>
class TaskPromise<void> : public TaskPromiseBase {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void Take() {}
};

}  // namespace internal

template <typename T>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::TaskPromise<T>;

  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> continuation) {
    return handle_.promise().Start(handle_, continuation);
  }
  T await_resume() { return handle_.promise().Take(); }

 private:
  std::coroutine_handle<promise_type> handle_;
};

namespace internal {

template <typename T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}

}  // namespace internal
}  // namespace parley

#endif  // PARLEY_WAIT_SET_TASK_H_
