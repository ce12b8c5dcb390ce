// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_TESTING_NUT_H_
#define PARLEY_CLI_TESTING_NUT_H_

// Small NUT streams for tests, written after the format's description and not with code under test.

#include <cstdint>
#include <string>
#include <vector>

namespace parley::cli::testing {

inline std::string NutNumber(uint64_t value) {
  std::string text(1, static_cast<char>(value & 0x7f));
  while ((value >>= 7) != 0) text.insert(text.begin(), static_cast<char>(0x80 | (value & 0x7f)));
  return text;
}

inline std::string BigEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes; i-- > 0;) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

// By long division.
inline std::string NutChecksum(const std::string& bytes) {
  uint32_t remainder = 0;
  for (const char c : bytes) {
    for (int bit = 7; bit >= 0; --bit) {
      const bool top = (remainder >> 31 & 1) != (static_cast<uint8_t>(c) >> bit & 1);
      remainder = remainder << 1 ^ (top ? 0x04c11db7u : 0u);
    }
  }
  return BigEndian(remainder, 4);
}

inline std::string NutPacket(uint64_t startcode, const std::string& content) {
  std::string lead = BigEndian(startcode, 8) + NutNumber(content.size() + 4);
  if (content.size() + 4 > 4096) lead += NutChecksum(lead);
  return lead + content + NutChecksum(content);
}

inline constexpr uint64_t kNutMain = 0x4e4d7a561f5f04ad;
inline constexpr uint64_t kNutStream = 0x4e5311405bf2f9db;
inline constexpr uint64_t kNutSyncpoint = 0x4e4be4adeeca4569;
inline constexpr uint64_t kNutIndex = 0x4e58dd672f23e64e;
inline constexpr uint64_t kNutInfo = 0x4e49ab68b596ba78;

// Of version 3, with a time base: frame code 1 says that all is coded, others are invalid.
inline std::string NutMain(uint64_t streams, uint64_t max_distance = 32768) {
  const auto codes = [](uint64_t flags, uint64_t count) {
    return NutNumber(flags) + NutNumber(6) + std::string(1, '\0') + NutNumber(1) +
           std::string(3, '\0') + NutNumber(count);
  };
  return NutNumber(3) + NutNumber(streams) + NutNumber(max_distance) + NutNumber(1) + NutNumber(1) +
         NutNumber(25) + codes(8192, 1) + codes(4096, 1) + codes(8192, 253) + NutNumber(0);
}

inline std::string NutStreamHeader(uint64_t number, uint64_t kind) {
  return NutNumber(number) + NutNumber(kind) + NutNumber(4) + "abcd" + std::string(6, '\0');
}

// `kinds` of the streams: 0 is video, 1 sound.
inline std::string NutHeaders(const std::vector<uint64_t>& kinds) {
  std::string all =
      std::string("nut/multimedia container\0", 25) + NutPacket(kNutMain, NutMain(kinds.size()));
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    all += NutPacket(kNutStream, NutStreamHeader(i, kinds[i]));
  }
  return all;
}

inline std::string NutSync(uint64_t time, uint64_t back_div16 = 0) {
  return NutPacket(kNutSyncpoint, NutNumber(time) + NutNumber(back_div16));
}

inline std::string NutFrame(uint64_t stream, bool is_key, std::size_t size, uint64_t time = 0) {
  std::string lead = "\1" + NutNumber(8 | 16 | 32 | 64 | (is_key ? 1 : 0)) + NutNumber(stream) +
                     NutNumber(time) + NutNumber(size);
  lead += NutChecksum(lead);
  std::string data;
  for (std::size_t i = 0; i < size; ++i) {
    // With startcodes in it: a frame's end is where its header says.
    data.push_back(i % 40 < 8 ? BigEndian(kNutSyncpoint, 8)[i % 40] : static_cast<char>(i));
  }
  return lead + data;
}

}  // namespace parley::cli::testing

#endif  // PARLEY_CLI_TESTING_NUT_H_
