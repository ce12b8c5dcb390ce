// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/signaller.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <bit>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "parley/os/eventfd.h"
#include "parley/wait/eventfd.h"

namespace parley {

absl::StatusOr<std::shared_ptr<Signaller>> Signaller::Create() {
  auto eventfd = CreateEventfd();
  if (!eventfd.ok()) return eventfd.status();
  auto made = std::make_shared<Signaller>(Private(), *std::move(eventfd));
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  absl::Status status;
  try {
    made->thread_ = std::thread([signaller = made.get()] { signaller->Run(); });
  } catch (const std::system_error&) {  // no more threads, or no memory for its stack
    status = absl::ResourceExhaustedError("cannot start a thread that signals");
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!status.ok()) return status;
  return made;
}

Signaller::~Signaller() {
  stop_.store(true, std::memory_order_release);  // PAIRS WITH: Run
  const uint64_t one = 1;
  static_cast<void>(!::write(eventfd_.get(), &one, sizeof(one)));
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::size_t> Signaller::Add(Task* task) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (std::size_t number = 0; number < kMaxTasks; ++number) {
    if (tasks_[number] != nullptr) continue;
    tasks_[number] = task;
    return number;
  }
  return absl::ResourceExhaustedError("a Signaller has 4096 ends at most");
}

void Signaller::Remove(std::size_t number) {
  const std::lock_guard<std::mutex> lock(mutex_);
  tasks_[number] = nullptr;
}

void Signaller::Post(std::size_t number) {
  // PAIRS WITH: the exchanges in Run. The bit before the summary, so that what the summary shows is
  // there.
  words_[number / 64].fetch_or(uint64_t{1} << (number % 64), std::memory_order_seq_cst);
  const uint64_t before =
      summary_.fetch_or(uint64_t{1} << (number / 64), std::memory_order_seq_cst);
  if (before != 0) return;  // it was written for that one, and not taken yet
  const uint64_t one = 1;
  static_cast<void>(!::write(eventfd_.get(), &one, sizeof(one)));
}

void Signaller::Run() {
  while (!stop_.load(std::memory_order_acquire)) {  // PAIRS WITH: ~Signaller
    pollfd entry = {eventfd_.get(), POLLIN, 0};
    static_cast<void>(::poll(&entry, 1, -1));
    static_cast<void>(TakeEventfdCount(eventfd_.get()));
    // PAIRS WITH: Post.
    uint64_t summary = summary_.exchange(0, std::memory_order_seq_cst);
    for (; summary != 0; summary &= summary - 1) {
      const auto word = static_cast<std::size_t>(std::countr_zero(summary));
      // PAIRS WITH: Post.
      uint64_t bits = words_[word].exchange(0, std::memory_order_seq_cst);
      for (; bits != 0; bits &= bits - 1) {
        const std::size_t number = word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
        const std::lock_guard<std::mutex> lock(mutex_);
        if (tasks_[number] != nullptr) tasks_[number]->SignalNow();
      }
    }
  }
}

}  // namespace parley
