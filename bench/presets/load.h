// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PRESETS_LOAD_H_
#define PARLEY_BENCH_PRESETS_LOAD_H_

// What the study of the waiting presets measures: who waits how, how often, which way.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "parley/bench/cell.h"
#include "parley/bench/usage.h"
#include "parley/wait/wait_options.h"

namespace parley::bench {

enum class Preset : uint8_t {
  kLowestLatency,
  kBalanced,
  kBalancedFutex,  // the same, with the doorbell that nothing can poll
  kLowestPower,
  kPureSpin,  // Try calls alone, for comparison
  kControl,   // nothing is sent: what the pacing costs by itself
};
inline constexpr std::array kPresets = {Preset::kControl,     Preset::kLowestLatency,
                                        Preset::kBalanced,    Preset::kBalancedFutex,
                                        Preset::kLowestPower, Preset::kPureSpin};

// As in the results' JSON.
constexpr std::string_view Name(Preset preset) {
  switch (preset) {
    case Preset::kLowestLatency:
      return "lowest latency";
    case Preset::kBalanced:
      return "balanced";
    case Preset::kBalancedFutex:
      return "balanced, futex";
    case Preset::kLowestPower:
      return "lowest power";
    case Preset::kPureSpin:
      return "pure spin";
    case Preset::kControl:
      break;
  }
  return "control";
}

inline WaitOptions OptionsOf(Preset preset) {
  return preset == Preset::kLowestLatency ? WaitOptions::LowestLatency()
         : preset == Preset::kLowestPower ? WaitOptions::LowestPower()
                                          : WaitOptions::Balanced();
}

inline constexpr std::size_t kLoadBytes = 64;  // of a message and of an answer

struct Load {
  Preset preset = Preset::kBalanced;
  Direction direction = Direction::kOneWay;
  double rate_hz = 0;  // 0: flat out
  double warm_up_s = 0.05;
  double measured_s = 1;
  double ticks_per_ns = 1;
};

struct EndCost {
  Usage usage;
  double spun_s = 0;  // pacing, part of the usage
  double wall_s = 0;
};

// One sample. Latencies are in the arena's histogram, in ticks.
struct LoadResult {
  uint64_t messages = 0;
  std::array<EndCost, 2> ends;  // by side
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PRESETS_LOAD_H_
