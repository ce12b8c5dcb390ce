// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/transports/sleepers.h"

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <memory>
#include <system_error>

#include "parley/os/errors.h"

namespace parley::bench {

EventfdSlots::EventfdSlots(std::array<Queue, 2> queues, const Cell& cell)
    : queues_(std::move(queues)),
      size_(cell.size_bytes),
      slots_(queues_[0].memory.size_bytes() / cell.size_bytes),
      stream_(cell.direction == Direction::kOneWay) {}

absl::StatusOr<std::unique_ptr<EventfdSlots>> EventfdSlots::Create(const Cell& cell) {
  const auto make = [&]() -> absl::StatusOr<Queue> {
    auto memory = SharedMemory::Create(QueueBytes(cell));
    if (!memory.ok()) return memory.status();
    const auto slots = static_cast<unsigned>(memory->size_bytes() / cell.size_bytes);
    // The bare exchange in a round trip, a counting semaphore in a stream.
    const int flags = EFD_CLOEXEC | (cell.direction == Direction::kOneWay ? EFD_SEMAPHORE : 0);
    Queue queue{*std::move(memory), UniqueFd(::eventfd(0, flags)),
                UniqueFd(::eventfd(slots, flags))};
    if (!queue.full.ok() || !queue.empty.ok()) return ErrnoStatus(errno, "create an eventfd");
    return queue;
  };
  auto there = make();
  if (!there.ok()) return there.status();
  auto back = make();
  if (!back.ok()) return back.status();
  return std::make_unique<EventfdSlots>(std::array<Queue, 2>{*std::move(there), *std::move(back)},
                                        cell);
}

absl::Status EventfdSlots::Open(Side side) {
  side_ = static_cast<std::size_t>(side);
  return absl::OkStatus();
}

bool EventfdSlots::Wait(int fd) {
  uint64_t count = 0;
  while (::read(fd, &count, sizeof(count)) < 0) {
    if (errno == EINTR) continue;
    error_ = errno;
    return false;
  }
  return true;
}

bool EventfdSlots::Ring(int fd) {
  const uint64_t one = 1;
  while (::write(fd, &one, sizeof(one)) < 0) {
    if (errno == EINTR) continue;
    error_ = errno;
    return false;
  }
  return true;
}

std::string EventfdSlots::error() const { return std::generic_category().message(error_); }

FutexRing::FutexRing(std::array<Queue, 2> queues, const Cell& cell)
    : queues_(std::move(queues)),
      size_(cell.size_bytes),
      // A power of two, so that the 32-bit positions may wrap.
      slots_(std::bit_floor(static_cast<uint32_t>(queues_[0].data.size_bytes() / size_))) {}

absl::StatusOr<std::unique_ptr<FutexRing>> FutexRing::Create(const Cell& cell) {
  const auto make = [&]() -> absl::StatusOr<Queue> {
    auto control = SharedMemory::Create(sizeof(Control));
    if (!control.ok()) return control.status();
    auto data = SharedMemory::Create(QueueBytes(cell));
    if (!data.ok()) return data.status();
    Queue queue{*std::move(control), *std::move(data)};
    void* memory = queue.control_memory.base();
    queue.control = std::construct_at(static_cast<Control*>(memory));
    return queue;
  };
  auto there = make();
  if (!there.ok()) return there.status();
  auto back = make();
  if (!back.ok()) return back.status();
  return std::make_unique<FutexRing>(std::array<Queue, 2>{*std::move(there), *std::move(back)},
                                     cell);
}

absl::Status FutexRing::Open(Side side) {
  side_ = static_cast<std::size_t>(side);
  return absl::OkStatus();
}

void FutexRing::Sleep(std::atomic<uint32_t>& word, uint32_t value) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, nullptr, nullptr, 0);
}

void FutexRing::Wake(std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

}  // namespace parley::bench
