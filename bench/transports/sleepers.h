// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_SLEEPERS_H_
#define PARLEY_BENCH_TRANSPORTS_SLEEPERS_H_

// Plain shared memory and the kernel's two bare wake-ups: what sleeping costs without Parley.
//
//   EventfdSlots   slots, and an eventfd that counts the full ones and one that counts the empty
//                  ones: each message is a write and a read of one at each end
//   FutexRing      a ring whose ends sleep on the other's position, and are woken only if they do
//
// Threads: one per process.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/arena.h"
#include "parley/bench/cell.h"
#include "parley/bench/transports/shared_memory.h"
#include "parley/os/unique_fd.h"

namespace parley::bench {

class EventfdSlots {
 public:
  static absl::StatusOr<std::unique_ptr<EventfdSlots>> Create(const Cell& cell);
  absl::Status Open(Side side);

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    Queue& queue = queues_[side_];
    // In a round trip there is never more than one message: nothing to wait for.
    if (stream_ && !Wait(queue.empty.get())) return false;
    fill(SlotAt(queue, next_out_), 0, bytes);
    next_out_ = next_out_ + 1 == slots_ ? 0 : next_out_ + 1;
    return Ring(queue.full.get());
  }
  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    Queue& queue = queues_[1 - side_];
    if (!Wait(queue.full.get())) return false;
    read(SlotAt(queue, next_in_), bytes);
    next_in_ = next_in_ + 1 == slots_ ? 0 : next_in_ + 1;
    return !stream_ || Ring(queue.empty.get());
  }
  std::string error() const;

  struct Queue {
    SharedMemory memory;
    UniqueFd full;
    UniqueFd empty;
  };
  EventfdSlots(std::array<Queue, 2> queues, const Cell& cell);

 private:
  std::byte* SlotAt(const Queue& queue, std::size_t slot) const {
    return queue.memory.base() + slot * size_;
  }
  bool Wait(int fd);
  bool Ring(int fd);

  std::array<Queue, 2> queues_;  // by who sends
  const std::size_t size_;
  const std::size_t slots_;
  const bool stream_;
  std::size_t side_ = 0;
  std::size_t next_out_ = 0;
  std::size_t next_in_ = 0;
  int error_ = 0;
};

class FutexRing {
 public:
  static absl::StatusOr<std::unique_ptr<FutexRing>> Create(const Cell& cell);
  absl::Status Open(Side side);

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    Queue& queue = queues_[side_];
    Await(queue.control->head, queue.control->sender_sleeps,
          [&](uint32_t head) { return next_out_ - head < slots_; });
    fill(queue.data.base() + (next_out_ % slots_) * size_, 0, bytes);
    Publish(queue.control->tail, queue.control->receiver_sleeps, ++next_out_);
    return true;
  }
  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    Queue& queue = queues_[1 - side_];
    Await(queue.control->tail, queue.control->receiver_sleeps,
          [&](uint32_t tail) { return tail != next_in_; });
    read(queue.data.base() + (next_in_ % slots_) * size_, bytes);
    Publish(queue.control->head, queue.control->sender_sleeps, ++next_in_);
    return true;
  }
  std::string error() const { return ""; }

  struct Control {
    alignas(kLineBytes) std::atomic<uint32_t> tail{0};
    alignas(kLineBytes) std::atomic<uint32_t> head{0};
    alignas(kLineBytes) std::atomic<uint32_t> receiver_sleeps{0};
    alignas(kLineBytes) std::atomic<uint32_t> sender_sleeps{0};
  };
  struct Queue {
    SharedMemory control_memory;
    SharedMemory data;
    Control* control = nullptr;
  };
  FutexRing(std::array<Queue, 2> queues, const Cell& cell);

 private:
  template <typename Ready>
  static void Await(std::atomic<uint32_t>& position, std::atomic<uint32_t>& sleeps,
                    const Ready& ready) {
    while (true) {
      // PAIRS WITH: the store in Publish.
      uint32_t now = position.load(std::memory_order_acquire);
      if (ready(now)) return;
      sleeps.store(1);
      now = position.load();
      if (!ready(now)) Sleep(position, now);
      sleeps.store(0);
    }
  }
  static void Publish(std::atomic<uint32_t>& position, std::atomic<uint32_t>& sleeps,
                      uint32_t value) {
    position.store(value);
    if (sleeps.load() != 0) Wake(position);
  }
  static void Sleep(std::atomic<uint32_t>& word, uint32_t value);
  static void Wake(std::atomic<uint32_t>& word);

  std::array<Queue, 2> queues_;  // by who sends
  const std::size_t size_;
  const uint32_t slots_;
  std::size_t side_ = 0;
  uint32_t next_out_ = 0;
  uint32_t next_in_ = 0;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_SLEEPERS_H_
