// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_SIGNALLER_H_
#define PARLEY_WAIT_SIGNALLER_H_

// A thread that signals peers, for callers that can't afford to do it themselves: what a signal
// costs is the peer's choice, within a budget (wait/budgets.h). The caller sets a bit, and writes
// to an eventfd of this process if the thread sleeps.
//
// Trust: one peer's expensive signals delay the signals of the other channels of this thread, by
// its budget in all. No peer reaches the eventfd.
// Threads: the thread is made by Create, before a lock-down; it blocks all signals. The rest is for
// the ends of channels.
//
//   WaitOptions options;
//   options.signaller = *Signaller::Create();

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"

namespace parley {

class Signaller {
  struct Private {};

 public:
  // What an end has done by the thread.
  class Task {
   public:
    virtual ~Task() = default;
    virtual void SignalNow() = 0;
  };
  static constexpr std::size_t kMaxTasks = std::size_t{64} * 64;

  static absl::StatusOr<std::shared_ptr<Signaller>> Create();
  Signaller(Private, UniqueFd eventfd) : eventfd_(std::move(eventfd)) {}
  ~Signaller();
  Signaller(const Signaller&) = delete;
  Signaller& operator=(const Signaller&) = delete;

  // A number for Post; kResourceExhausted beyond kMaxTasks.
  absl::StatusOr<std::size_t> Add(Task* task);
  // `task` is not used any more after this, which waits for a SignalNow that is under way.
  void Remove(std::size_t number);
  // Has the task's SignalNow called soon. Bounded; at most one system call, on an object of this
  // process alone.
  void Post(std::size_t number);
  // What the thread polls: needed after a lock-down (write of 8 bytes, preadv2).
  int eventfd() const { return eventfd_.get(); }

 private:
  void Run();

  const UniqueFd eventfd_;
  std::atomic<uint64_t> summary_{0};  // of words_ that are not zero
  std::array<std::atomic<uint64_t>, 64> words_ = {};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // of tasks_; held while one of them signals
  std::array<Task*, kMaxTasks> tasks_ = {};
  std::thread thread_;
};

}  // namespace parley

#endif  // PARLEY_WAIT_SIGNALLER_H_
