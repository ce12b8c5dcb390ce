// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_TONE_MAP_H_
#define PARLEY_THUMB_TONE_MAP_H_

// High dynamic range on an ordinary screen: PQ and HLG with the primaries of BT.2020 to sRGB.
//
// Threads: pure functions; any.

#include <array>
#include <cstdint>

namespace parley::thumb {

enum class HdrTransfer { kPq, kHlg };

// `peak`: the brightest light that is to be told from brighter, in units of 100 cd/m2.
struct ToneMap {
  HdrTransfer transfer = HdrTransfer::kPq;
  double peak = 10;

  // Non-linear R'G'B' of 16 bits to sRGB of 8.
  std::array<uint8_t, 3> operator()(const std::array<uint16_t, 3>& rgb) const;
};

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_TONE_MAP_H_
