// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_MEDIA_SCRIPT_H_
#define PARLEY_FUZZ_MEDIA_SCRIPT_H_

// Format records and frames as a script says, right or nearly right, and what they mean: said a
// second time, from byte offsets and in 128-bit integers, sharing no line with media/.
//
// Trust: the maker is the attacker, the model is the judge.
// Threads: one.
//
//   const std::vector<std::byte> record = MakeFormat(script, true, 1);
//   const std::optional<FormatModel> expected = ModelOfFormat(record, limits);

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {

// Bytes as a record has them, little-endian.
uint64_t Number(const std::vector<std::byte>& bytes, std::size_t at, std::size_t size);

struct FormatModel {
  bool video = false;
  uint64_t generation = 0;
  // Of a picture's planes; audio has none.
  std::size_t planes = 1;
  std::array<uint64_t, 4> row_bytes = {};
  std::array<uint64_t, 4> rows = {};
  // Of audio: one sample of each channel, or where it is planar one sample.
  uint64_t frame_bytes = 0;
  uint64_t channels = 0;
  bool planar = false;
};
// nullopt: to be refused.
std::optional<FormatModel> ModelOfFormat(const std::vector<std::byte>& record,
                                         const FormatLimits& limits);

struct FrameModel {
  std::array<uint64_t, 4> offset = {};
  std::array<uint64_t, 4> stride = {};
  std::array<uint64_t, 4> size = {};
  uint64_t frames = 0;  // of audio: samples per channel
};
// `bytes` begin with the header. nullopt: to be refused.
std::optional<FrameModel> ModelOfFrame(const std::vector<std::byte>& bytes, uint64_t payload_bytes,
                                       const FormatModel& format,
                                       const FrameAlignment& alignment = {});
// Whether ParseAcceptance takes it.
bool ModelOfAcceptance(const std::vector<std::byte>& record);

// A right record, now and then with a size at a limit.
std::vector<std::byte> MakeFormat(testing::Script& script, bool video, uint32_t generation);
// A right header for `format` with gaps and long rows, and the payload that it needs, up to 64 KiB.
std::vector<std::byte> MakeFrame(testing::Script& script, const FormatModel& format,
                                 uint64_t sequence);
// Up to three bytes of the first 128 changed (a record's or a header's), or the length.
void Spoil(testing::Script& script, std::vector<std::byte>* message);

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_MEDIA_SCRIPT_H_
