// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_COMPETITORS_BOOST_SPSC_H_
#define PARLEY_BENCH_COMPETITORS_BOOST_SPSC_H_

// boost::lockfree::spsc_queue with a capacity known to the compiler, which holds no pointer and can
// lie in memory that two processes share. Elements are copied in and read in place.
//
// Threads: one per process.

#include <array>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"
#include "parley/bench/transports/ring.h"
#include "parley/bench/transports/shared_memory.h"

namespace parley::bench {

template <std::size_t kBytes>
class BoostSpsc {
 public:
  using Element = std::array<uint64_t, kBytes / 8>;
  using Queue =
      boost::lockfree::spsc_queue<Element,
                                  boost::lockfree::capacity<DefaultQueueBytes(kBytes) / kBytes>>;

  static absl::StatusOr<std::unique_ptr<BoostSpsc>> Create(const Cell& /*kBytes*/) {
    auto there = SharedMemory::Create(sizeof(Queue));
    if (!there.ok()) return there.status();
    auto back = SharedMemory::Create(sizeof(Queue));
    if (!back.ok()) return back.status();
    return std::make_unique<BoostSpsc>(*std::move(there), *std::move(back));
  }
  BoostSpsc(SharedMemory there, SharedMemory back)
      : memories_{std::move(there), std::move(back)}, element_(std::make_unique<Element>()) {
    for (std::size_t i = 0; i < 2; ++i) {
      void* base = memories_[i].base();
      queues_[i] = std::construct_at(static_cast<Queue*>(base));
    }
  }

  absl::Status Open(Side side) {
    out_ = queues_[static_cast<std::size_t>(side)];
    in_ = queues_[static_cast<std::size_t>(Other(side))];
    return absl::OkStatus();
  }

  template <typename Fill>
  bool Send(std::size_t /*kBytes*/, const Fill& fill) {
    Element& element = *element_;
    // SAFETY: words looked at as bytes.
    fill(reinterpret_cast<std::byte*>(element.data()), 0, kBytes);
    while (!out_->push(element)) SpinOnce();
    return true;
  }
  template <typename Read>
  bool Receive(std::size_t /*kBytes*/, const Read& read) {
    const auto look = [&](const Element& element) {
      // SAFETY: words looked at as bytes.
      read(reinterpret_cast<const std::byte*>(element.data()), kBytes);
    };
    while (!in_->consume_one(look)) SpinOnce();
    return true;
  }
  std::string error() const { return ""; }

 private:
  std::array<SharedMemory, 2> memories_;
  std::array<Queue*, 2> queues_ = {};
  std::unique_ptr<Element> element_;
  Queue* out_ = nullptr;
  Queue* in_ = nullptr;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_COMPETITORS_BOOST_SPSC_H_
