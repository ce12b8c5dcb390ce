// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/transports/limits.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/arena.h"
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"
#include "parley/bench/payload.h"
#include "parley/bench/transports/shared_memory.h"

namespace parley::bench {
namespace {

// A line per direction that holds a word of the payload and nothing else: it changes with each
// message, which is all that the other end waits for.
class TwoLines {
 public:
  static absl::StatusOr<std::unique_ptr<TwoLines>> Create(const Cell& /*8 bytes*/) {
    auto memory = SharedMemory::Create(sizeof(Lines));
    if (!memory.ok()) return memory.status();
    return std::make_unique<TwoLines>(*std::move(memory));
  }
  explicit TwoLines(SharedMemory memory) : memory_(std::move(memory)) {
    void* base = memory_.base();
    lines_ = std::construct_at(static_cast<Lines*>(base));
  }

  absl::Status Open(Side side) {
    out_ = side == Side::kSender ? &lines_->there : &lines_->back;
    in_ = side == Side::kSender ? &lines_->back : &lines_->there;
    return absl::OkStatus();
  }
  template <typename Fill>
  bool Send(std::size_t /*8*/, const Fill& fill) {
    std::byte bytes[8];
    fill(bytes, 0, sizeof(bytes));
    uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof(word));
    // PAIRS WITH: the load in Receive.
    out_->store(word, std::memory_order_release);
    return true;
  }
  template <typename Read>
  bool Receive(std::size_t /*8*/, const Read& read) {
    uint64_t word = seen_;
    // PAIRS WITH: the store in Send.
    while ((word = in_->load(std::memory_order_acquire)) == seen_) SpinOnce();
    seen_ = word;
    std::byte bytes[8];
    std::memcpy(bytes, &word, sizeof(word));
    read(bytes, sizeof(bytes));
    return true;
  }
  std::string error() const { return ""; }

 private:
  struct Lines {
    alignas(kLineBytes) std::atomic<uint64_t> there{0};
    alignas(kLineBytes) std::atomic<uint64_t> back{0};
  };
  SharedMemory memory_;
  Lines* lines_ = nullptr;
  std::atomic<uint64_t>* out_ = nullptr;
  std::atomic<uint64_t>* in_ = nullptr;
  uint64_t seen_ = 0;
};

// A "transport" whose sender does all the work.
enum class Work : uint8_t {
  kMemcpy,      // a private buffer to the next place of an area as long as a ring
  kFillAndSum,  // writes the payload there and reads it again
};

template <Work kWork>
class Alone {
 public:
  static absl::StatusOr<std::unique_ptr<Alone>> Create(const Cell& cell) {
    auto area = SharedMemory::Create(QueueBytes(cell));
    if (!area.ok()) return area.status();
    auto source = SharedMemory::Create(cell.size_bytes);
    if (!source.ok()) return source.status();
    return std::make_unique<Alone>(*std::move(area), *std::move(source));
  }
  Alone(SharedMemory area, SharedMemory source)
      : area_(std::move(area)), source_(std::move(source)) {}

  absl::Status Run(Side side, const Cell& cell, const Plan& plan, Arena& arena) {
    arena.Meet();
    if (side == Side::kReceiver) {
      if (plan.probe) arena.ProbeAsReceiver();
      arena.Meet();
      if (plan.probe) arena.ProbeAsReceiver();
      arena.Meet();
      return absl::OkStatus();
    }
    if (plan.probe) arena.probe_before_ns = arena.ProbeAsSender(plan.ticks_per_ns);
    if (absl::Status status = Measure(cell, plan, arena); !status.ok()) return status;
    arena.Meet();
    if (plan.probe) arena.probe_after_ns = arena.ProbeAsSender(plan.ticks_per_ns);
    arena.result(side).done = true;
    arena.Meet();
    return absl::OkStatus();
  }

 private:
  absl::Status Measure(const Cell& cell, const Plan& plan, Arena& arena) {
    double message_ns = std::numeric_limits<double>::max();
    double warm_ns = 0;
    for (uint64_t count = 1; warm_ns < plan.warm_up_ns; count *= 2) {
      const uint64_t begin = Ticks();
      if (!Repeat(cell.size_bytes, count, nullptr, 1)) return Wrong();
      const double ns = static_cast<double>(Ticks() - begin) / plan.ticks_per_ns;
      warm_ns += ns;
      message_ns = std::min(message_ns, ns / static_cast<double>(count));
      if (plan.fixed_count != 0) break;
    }
    const auto fits = static_cast<uint64_t>(plan.measured_ns / std::max(message_ns, 0.1));
    arena.count = plan.fixed_count != 0 ? plan.fixed_count : std::max<uint64_t>(fits, 8);
    constexpr double kMinBlockNs = 2'000;
    uint64_t block = 1;
    while (static_cast<double>(block) * message_ns < kMinBlockNs && block * 64 < arena.count) {
      block *= 2;
    }
    const Usage before = UsageNow();
    arena.measuring[0].store(true);
    arena.begin_ticks = Ticks();
    const bool right = Repeat(cell.size_bytes, arena.count, &arena.histogram, block);
    arena.end_ticks = Ticks();
    arena.measuring[0].store(false);
    arena.result(Side::kSender).usage = UsageNow() - before;
    return right ? absl::OkStatus() : Wrong();
  }

  static absl::Status Wrong() { return absl::DataLossError("the checksum is wrong"); }

  bool Repeat(std::size_t bytes, uint64_t count, Histogram* histogram, uint64_t block) {
    bool right = true;
    uint64_t last = Ticks();
    for (uint64_t i = 0; i < count; ++i) {
      right &= Once(bytes, next_++);
      if (histogram == nullptr || (i + 1) % block != 0) continue;
      const uint64_t now = Ticks();
      histogram->Add((now - last) / block);
      last = now;
    }
    return right;
  }

  bool Once(std::size_t bytes, uint64_t number) {
    if (at_ + bytes > area_.size_bytes()) at_ = 0;
    std::byte* to = area_.base() + at_;
    at_ += bytes;
    if constexpr (kWork == Work::kMemcpy) {
      std::memcpy(to, source_.base(), bytes);
      asm volatile("" : : "r"(to) : "memory");
      return true;
    } else {
      FillWords(to, bytes, FirstWord(number));
      asm volatile("" : : "r"(to) : "memory");  // what was written is read again
      return SumWords(to, bytes) == ExpectedSum(bytes, FirstWord(number));
    }
  }

  SharedMemory area_;
  SharedMemory source_;
  std::size_t at_ = 0;
  uint64_t next_ = 0;
};

template <Work kWork>
Row AloneRow(std::string name, std::string note) {
  Row row;
  row.name = std::move(name);
  row.family = "limit";
  row.note = std::move(note);
  row.round_trip = false;
  row.solo = true;
  row.prepare = [](const Cell& cell, const Plan& plan, Arena& arena) -> absl::StatusOr<Body> {
    auto made = Alone<kWork>::Create(cell);
    if (!made.ok()) return made.status();
    std::shared_ptr<Alone<kWork>> alone = *std::move(made);
    return Body(
        [alone, cell, plan, &arena](Side side) { return alone->Run(side, cell, plan, arena); });
  };
  return row;
}

}  // namespace

std::vector<Row> LimitRows() {
  std::vector<Row> rows;
  Row lines = MakeRow("bare two-line exchange", "limit", Waiting::kSpin, TwoLines::Create);
  lines.note = "one word each way, in a cache line per direction";
  lines.one_way = false;
  lines.refuses = [](const Cell& cell) {
    return cell.size_bytes == 8 ? std::string() : std::string("one word is all it carries");
  };
  rows.push_back(std::move(lines));
  rows.push_back(AloneRow<Work::kMemcpy>(
      "memcpy", "one process: from one buffer into an area as long as the rings"));
  rows.push_back(AloneRow<Work::kFillAndSum>(
      "fill and sum",
      "one process: the payload written and read again, what each row does at least"));
  return rows;
}

}  // namespace parley::bench
