#include "parley/fuzz/media_script.h"

#include <algorithm>

namespace parley::fuzz {
namespace {

// A typedef, because __extension__ goes with nothing else.
__extension__ typedef unsigned __int128 Wide;  // NOLINT(modernize-use-using)

constexpr uint64_t kMaxPayloadBytes = 65536;

void Append(std::vector<std::byte>* bytes, uint64_t number, int size) {
  for (int i = 0; i < size; ++i) bytes->push_back(static_cast<std::byte>(number >> (8 * i)));
}

bool AllZero(const std::vector<std::byte>& bytes, std::size_t from, std::size_t to) {
  return std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                     bytes.begin() + static_cast<std::ptrdiff_t>(to),
                     [](std::byte b) { return b == std::byte{0}; });
}

// Planes by docs/SPEC.md: gray, 4:2:0, 4:2:2, 4:4:4, each with 8 and then with 10 bits.
FormatModel PictureModel(uint64_t pixel_format, uint64_t width, uint64_t height) {
  FormatModel model;
  model.video = true;
  const uint64_t sample = pixel_format > 4 ? 2 : 1;
  const uint64_t kind = (pixel_format - 1) % 4;
  model.planes = kind == 0 ? 1 : 3;
  for (std::size_t i = 0; i < model.planes; ++i) {
    const bool half_width = i != 0 && kind != 3;
    const bool half_height = i != 0 && kind == 1;
    model.row_bytes[i] = (half_width ? width / 2 + width % 2 : width) * sample;
    model.rows[i] = half_height ? height / 2 + height % 2 : height;
  }
  return model;
}

uint32_t Dimension(testing::Script& script) {
  constexpr std::array<uint32_t, 10> kSpecial = {16384, 16385, 65535,      65536,      65537,
                                                 4096,  0,     0x80000000, 0xffffffff, 1u << 20};
  const uint8_t kind = script.Take8();
  return kind < 230 ? 1 + kind % 64u : kSpecial[kind % kSpecial.size()];
}

}  // namespace

uint64_t Number(const std::vector<std::byte>& bytes, std::size_t at, std::size_t size) {
  uint64_t number = 0;
  for (std::size_t i = size; i > 0; --i) {
    number = number * 256 + std::to_integer<uint64_t>(bytes[at + i - 1]);
  }
  return number;
}

std::optional<FormatModel> ModelOfFormat(const std::vector<std::byte>& record,
                                         const FormatLimits& limits) {
  if (record.size() != 64 || Number(record, 0, 4) != 0x314d4650 || Number(record, 4, 2) != 1) {
    return std::nullopt;
  }
  const uint64_t kind = Number(record, 6, 2);
  const uint64_t code = Number(record, 12, 4);
  if (kind == 1) {
    const uint64_t width = Number(record, 16, 4);
    const uint64_t height = Number(record, 20, 4);
    if (code < 1 || code > 8 || width == 0 || height == 0 || width > 65536 || height > 65536 ||
        width > limits.max_width || height > limits.max_height || Number(record, 28, 4) == 0 ||
        Number(record, 36, 4) == 0 || Number(record, 40, 4) > 1 || !AllZero(record, 44, 64)) {
      return std::nullopt;
    }
    FormatModel model = PictureModel(code, width, height);
    model.generation = Number(record, 8, 4);
    Wide size = 0;
    for (std::size_t i = 0; i < 4; ++i) size += Wide{model.row_bytes[i]} * model.rows[i];
    if (size > limits.max_frame_bytes) return std::nullopt;
    return model;
  }
  if (kind == 2) {
    const uint64_t rate = Number(record, 16, 4);
    const uint64_t channels = Number(record, 20, 4);
    if (code < 1 || code > 4 || rate == 0 || rate > limits.max_rate_hz || channels == 0 ||
        channels > 65536 || channels > limits.max_channels || !AllZero(record, 24, 64)) {
      return std::nullopt;
    }
    FormatModel model;
    model.generation = Number(record, 8, 4);
    model.frame_bytes = channels * (code == 1 ? 1 : code == 2 ? 2 : 4);
    return model;
  }
  return std::nullopt;
}

std::optional<FrameModel> ModelOfFrame(const std::vector<std::byte>& bytes, uint64_t payload_bytes,
                                       const FormatModel& format) {
  constexpr uint64_t kMaxNs = uint64_t{1} << 60;
  if (bytes.size() < 64) return std::nullopt;
  const uint64_t flags = Number(bytes, 28, 2);
  const uint64_t pts = Number(bytes, 8, 8);
  const uint64_t planes = Number(bytes, 30, 1);
  if (flags >= 32 || (flags & 3) == 3 || Number(bytes, 31, 1) != 0 ||
      Number(bytes, 24, 4) != format.generation || (pts > kMaxNs && pts < 0 - kMaxNs) ||
      Number(bytes, 16, 8) > kMaxNs || planes != format.planes ||
      !AllZero(bytes, 32 + 8 * planes, 64)) {
    return std::nullopt;
  }
  FrameModel model;
  Wide end = 0;
  for (std::size_t i = 0; i < planes; ++i) {
    const uint64_t offset = Number(bytes, 32 + 8 * i, 4);
    const uint64_t stride = Number(bytes, 36 + 8 * i, 4);
    const uint64_t row = format.video ? format.row_bytes[i] : stride;
    const uint64_t rows = format.video ? format.rows[i] : 1;
    if (!format.video && (stride == 0 || stride % format.frame_bytes != 0)) return std::nullopt;
    if (stride < row || offset < end) return std::nullopt;
    const Wide size = Wide{stride} * (rows - 1) + row;
    end = offset + size;
    if (end > payload_bytes || size > 0xffff'ffff) return std::nullopt;
    model.offset[i] = offset;
    model.stride[i] = stride;
    model.size[i] = static_cast<uint64_t>(size);
  }
  return model;
}

std::vector<std::byte> MakeFormat(testing::Script& script, bool video, uint32_t generation) {
  std::vector<std::byte> record;
  Append(&record, 0x314d4650, 4);
  Append(&record, 1, 2);
  Append(&record, video ? 1 : 2, 2);
  Append(&record, generation, 4);
  if (video) {
    Append(&record, 1 + script.Take8() % 8u, 4);
    Append(&record, Dimension(script), 4);
    Append(&record, Dimension(script), 4);
    for (int i = 0; i < 2; ++i) {  // rate and aspect
      const uint8_t kind = script.Take8();
      Append(&record, kind < 250 ? kind : script.Take32(), 4);
      Append(&record, kind < 250 ? 1 + kind % 3u : script.Take32(), 4);
    }
    Append(&record, script.Take8() % 2, 4);
  } else {
    constexpr std::array<uint32_t, 6> kRates = {8000, 44100, 768000, 768001, 0, 0xffffffff};
    Append(&record, 1 + script.Take8() % 4u, 4);
    Append(&record, kRates[script.Take8() % kRates.size()], 4);
    Append(&record, Dimension(script), 4);
  }
  record.resize(64);
  return record;
}

std::vector<std::byte> MakeFrame(testing::Script& script, const FormatModel& format,
                                 uint64_t sequence) {
  std::vector<std::byte> message;
  Append(&message, sequence, 8);
  for (int i = 0; i < 2; ++i) {  // time and duration
    const uint8_t kind = script.Take8();
    Append(&message, kind < 250 ? uint64_t{kind} * 1'000'000 : (uint64_t{1} << 60) - 252 + kind, 8);
  }
  Append(&message, format.generation, 4);
  const uint8_t flags = script.Take8();
  Append(&message, flags % 4 == 3 ? flags & 0x1d : flags & 0x1f, 2);
  Append(&message, format.planes, 1);
  Append(&message, 0, 1);
  uint64_t end = 0;
  for (std::size_t i = 0; i < format.planes; ++i) {
    const uint8_t gap = script.Take8();
    const uint64_t offset = end + gap % 16;
    const uint64_t stride = format.video ? format.row_bytes[i] + gap / 16
                                         : format.frame_bytes * (1 + script.Take8() % 32u);
    Append(&message, offset, 4);
    Append(&message, stride, 4);
    end = offset + (format.video ? stride * (format.rows[i] - 1) + format.row_bytes[i] : stride);
  }
  message.resize(64);
  const uint64_t payload = std::min(end, kMaxPayloadBytes);
  const uint8_t first = script.Take8();
  for (uint64_t i = 0; i < payload; ++i) message.push_back(static_cast<std::byte>(first + i * 37));
  return message;
}

void Spoil(testing::Script& script, std::vector<std::byte>* message) {
  for (int i = script.Take8() % 4; i > 0 && !message->empty(); --i) {
    const std::size_t at = script.Take8() % std::min<std::size_t>(message->size(), 104);
    (*message)[at] = std::byte{script.Take8()};
  }
  const uint8_t length = script.Take8();
  if (length >= 250)
    message->resize(message->size() - std::min<std::size_t>(message->size(), length - 249u));
  if (length >= 240 && length < 250) message->resize(message->size() + length - 239u);
}

}  // namespace parley::fuzz
