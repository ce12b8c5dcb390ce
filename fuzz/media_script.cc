// SPDX-License-Identifier: Apache-2.0
#include "parley/fuzz/media_script.h"

#include <algorithm>
#include <string_view>

#include "parley/media/pixel_format.h"

namespace parley::fuzz {
namespace {

// A typedef, because __extension__ goes with nothing else.
__extension__ typedef __int128 Wide;  // NOLINT(modernize-use-using)

constexpr uint64_t kMaxPayloadBytes = 65536;

void Append(std::vector<std::byte>* bytes, uint64_t number, int size) {
  for (int i = 0; i < size; ++i) bytes->push_back(static_cast<std::byte>(number >> (8 * i)));
}

bool AllZero(const std::vector<std::byte>& bytes, std::size_t from, std::size_t to) {
  return std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                     bytes.begin() + static_cast<std::ptrdiff_t>(to),
                     [](std::byte b) { return b == std::byte{0}; });
}

uint64_t Half(uint64_t size, uint64_t halvings) {
  for (; halvings > 0; --halvings) size = size / 2 + size % 2;
  return size;
}

// Halvings of the chroma of "420", "422", ...
std::array<uint64_t, 2> Halvings(std::string_view sampling) {
  if (sampling == "420") return {1, 1};
  if (sampling == "422") return {1, 0};
  if (sampling == "440") return {0, 1};
  if (sampling == "411") return {2, 0};
  if (sampling == "410") return {2, 2};
  return {0, 0};
}

// Planes by what the format is called: its name says all of it.
FormatModel PictureModel(uint64_t pixel_format, uint64_t width, uint64_t height) {
  FormatModel model;
  model.video = true;
  std::string_view name = FindPixelFormat(static_cast<uint32_t>(pixel_format))->name;
  if (name.size() > 2 && name.substr(name.size() - 2) == "be") name.remove_suffix(2);
  const auto begins = [&](std::string_view with) { return name.substr(0, with.size()) == with; };
  const bool more_than_a_byte = name.back() >= '0' && name.back() <= '9';
  const auto plane = [&](std::size_t i, uint64_t row_bytes, uint64_t rows) {
    model.planes = i + 1;
    model.row_bytes[i] = row_bytes;
    model.rows[i] = rows;
  };
  if (begins("yuv") && name[3] != 'y') {
    // "yuv420p10", "yuva444p"
    const bool alpha = name[3] == 'a';
    const auto [x, y] = Halvings(name.substr(alpha ? 4 : 3, 3));
    const uint64_t sample = more_than_a_byte ? 2 : 1;
    plane(0, width * sample, height);
    plane(1, Half(width, x) * sample, Half(height, y));
    plane(2, Half(width, x) * sample, Half(height, y));
    if (alpha) plane(3, width * sample, height);
  } else if (begins("gbr")) {
    // "gbrp", "gbrap10", "gbrpf32"
    const uint64_t sample = !more_than_a_byte ? 1 : name.substr(name.size() - 3) == "f32" ? 4 : 2;
    const std::size_t planes = name[3] == 'a' ? 4 : 3;
    for (std::size_t i = 0; i < planes; ++i) plane(i, width * sample, height);
  } else if (begins("gray")) {
    plane(0, width * (!more_than_a_byte ? 1 : begins("grayf") ? 4 : 2), height);
  } else if (begins("nv") || (name[0] == 'p' && name.size() == 4)) {
    // "nv12", "p210": Y, and pairs of Cb and Cr.
    const uint64_t sample = name[0] == 'p' || name == "nv20" ? 2 : 1;
    const bool full_width = name == "nv24" || name == "nv42" || name[1] == '4';
    const bool half_height = name == "nv12" || name == "nv21" || name[1] == '0';
    plane(0, width * sample, height);
    plane(1, (full_width ? width : Half(width, 1)) * 2 * sample,
          half_height ? Half(height, 1) : height);
  } else if (name == "yuyv422" || name == "uyvy422" || name == "yvyu422") {
    plane(0, Half(width, 1) * 4, height);
  } else if (name == "y210" || name == "y212") {
    plane(0, Half(width, 1) * 8, height);
  } else {
    uint64_t pixel = 4;
    if (name == "rgb24" || name == "bgr24") pixel = 3;
    if (name == "rgb48" || name == "bgr48" || name == "xyz12") pixel = 6;
    if (name == "rgba64" || name == "bgra64" || name == "ayuv64") pixel = 8;
    if (name == "rgbf32") pixel = 12;
    if (name == "rgbaf32") pixel = 16;
    if (name == "ya8" || name.substr(3) == "565" || name.substr(3) == "555" ||
        name.substr(3) == "444") {
      pixel = 2;
    }
    plane(0, width * pixel, height);
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
  if (record.size() < 128 || Number(record, 0, 4) != 0x314d4650 || Number(record, 4, 2) != 2) {
    return std::nullopt;
  }
  const uint64_t kind = Number(record, 6, 2);
  const uint64_t code = Number(record, 12, 4);
  if (kind == 1) {
    const uint64_t width = Number(record, 16, 4);
    const uint64_t height = Number(record, 20, 4);
    const uint64_t icc_bytes = Number(record, 84, 4);
    if (code < 1 || code > AllPixelFormats().size() || width == 0 || height == 0 || width > 65536 ||
        height > 65536 || width > limits.max_width || height > limits.max_height ||
        Number(record, 28, 4) == 0 || Number(record, 36, 4) == 0 || Number(record, 40, 1) > 2 ||
        Number(record, 44, 1) > 6 || Number(record, 45, 1) > 3 || Number(record, 46, 1) > 1 ||
        Number(record, 47, 1) != 0 || record.size() != 128 + icc_bytes ||
        icc_bytes > limits.max_icc_bytes || !AllZero(record, 88, 128)) {
      return std::nullopt;
    }
    const auto entry = [&](std::size_t i) {
      return static_cast<Wide>(static_cast<int32_t>(Number(record, 48 + 4 * i, 4)));
    };
    if (!AllZero(record, 48, 84) && entry(0) * entry(4) == entry(1) * entry(3)) {
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
    constexpr std::array<uint64_t, 8> kBytes = {0, 1, 2, 4, 4, 4, 8, 8};
    const uint64_t rate = Number(record, 16, 4);
    const uint64_t channels = Number(record, 20, 4);
    const uint64_t layout = Number(record, 26, 1);
    if (record.size() != 128 || code < 1 || code > 7 || rate == 0 || rate > limits.max_rate_hz ||
        channels == 0 || channels > 65536 || channels > limits.max_channels ||
        Number(record, 24, 1) > 1 || Number(record, 25, 1) > 8 * kBytes[code] || layout > 3 ||
        !AllZero(record, 27, 32) || !AllZero(record, 104, 128)) {
      return std::nullopt;
    }
    uint64_t bits = 0;
    for (uint64_t mask = Number(record, 32, 8); mask != 0; mask &= mask - 1) ++bits;
    if (layout == 1 ? bits != channels : bits != 0) return std::nullopt;
    if (layout != 2 && !AllZero(record, 40, 104)) return std::nullopt;
    if (layout == 2) {
      if (channels > 64) return std::nullopt;
      for (std::size_t i = 0; i < 64; ++i) {
        const uint64_t position = Number(record, 40 + i, 1);
        if (i < channels ? position > 63 && position != 255 : position != 0) return std::nullopt;
      }
    }
    uint64_t root = 0;
    while (root * root < channels) ++root;
    if (layout == 3 && root * root != channels) return std::nullopt;
    FormatModel model;
    model.generation = Number(record, 8, 4);
    model.planar = Number(record, 24, 1) == 1;
    model.channels = channels;
    model.frame_bytes = kBytes[code] * (model.planar ? 1 : channels);
    return model;
  }
  return std::nullopt;
}

std::optional<FrameModel> ModelOfFrame(const std::vector<std::byte>& bytes, uint64_t payload_bytes,
                                       const FormatModel& format, const FrameAlignment& alignment) {
  constexpr uint64_t kMaxNs = uint64_t{1} << 60;
  if (bytes.size() < 64) return std::nullopt;
  const uint64_t flags = Number(bytes, 28, 2);
  const uint64_t pts = Number(bytes, 8, 8);
  const uint64_t planes = Number(bytes, 30, 1);
  const bool planar_sound = !format.video && format.planar;
  if (flags >= 256 || (flags & 3) == 3 || (flags & 0x60) == 0x40 || Number(bytes, 31, 1) != 0 ||
      Number(bytes, 24, 4) != format.generation || (pts > kMaxNs && pts < 0 - kMaxNs) ||
      Number(bytes, 16, 8) > kMaxNs || planes != format.planes) {
    return std::nullopt;
  }
  if (planar_sound ? Number(bytes, 40, 4) != 0 || !AllZero(bytes, 48, 64)
                   : !AllZero(bytes, 32 + 8 * planes, 64)) {
    return std::nullopt;
  }
  FrameModel model;
  Wide end = 0;
  for (std::size_t i = 0; i < planes; ++i) {
    const uint64_t offset = Number(bytes, 32 + 8 * i, 4);
    const uint64_t length = Number(bytes, 36 + 8 * i, 4);
    const uint64_t stride = planar_sound ? Number(bytes, 44, 4) : length;
    const uint64_t row = format.video ? format.row_bytes[i] : length;
    const uint64_t rows = format.video ? format.rows[i] : planar_sound ? format.channels : 1;
    if (!format.video && (length == 0 || length % format.frame_bytes != 0)) return std::nullopt;
    if (stride < row || offset < end || offset % alignment.plane_bytes != 0 ||
        (rows > 1 && stride % alignment.row_bytes != 0)) {
      return std::nullopt;
    }
    const Wide size = Wide{stride} * (rows - 1) + row;
    end = offset + size;
    if (end > payload_bytes || size > 0xffff'ffff) return std::nullopt;
    model.offset[i] = offset;
    model.stride[i] = stride;
    model.size[i] = static_cast<uint64_t>(size);
    model.frames = format.video ? 0 : length / format.frame_bytes;
  }
  return model;
}

bool ModelOfAcceptance(const std::vector<std::byte>& record) {
  if (record.size() != 128 || Number(record, 0, 4) != 0x31414d50 || Number(record, 4, 2) != 1) {
    return false;
  }
  const auto alignment = [&](std::size_t at) {
    const uint64_t bytes = Number(record, at, 4);
    return bytes >= 1 && bytes <= 4096 && (bytes & (bytes - 1)) == 0;
  };
  return Number(record, 6, 1) <= 1 && Number(record, 7, 1) <= 1 && Number(record, 6, 2) != 0 &&
         alignment(44) && alignment(48) && AllZero(record, 84, 128);
}

std::vector<std::byte> MakeFormat(testing::Script& script, bool video, uint32_t generation) {
  std::vector<std::byte> record;
  Append(&record, 0x314d4650, 4);
  Append(&record, 2, 2);
  Append(&record, video ? 1 : 2, 2);
  Append(&record, generation, 4);
  std::size_t more = 0;
  if (video) {
    Append(&record, 1 + script.Take8() % AllPixelFormats().size(), 4);
    Append(&record, Dimension(script), 4);
    Append(&record, Dimension(script), 4);
    for (int i = 0; i < 2; ++i) {  // rate and aspect
      const uint8_t kind = script.Take8();
      Append(&record, kind < 250 ? kind : script.Take32(), 4);
      Append(&record, kind < 250 ? 1 + kind % 3u : script.Take32(), 4);
    }
    const uint8_t kind = script.Take8();
    Append(&record, kind % 3, 1);
    for (const int code : {1, 13, 9}) Append(&record, static_cast<uint64_t>(code), 1);
    Append(&record, kind % 7, 1);
    Append(&record, kind % 4, 1);
    Append(&record, kind % 2, 1);
    Append(&record, 0, 1);
    // Sometimes a turn, sometimes a profile.
    if (kind >= 128) {
      for (const uint64_t entry :
           {0ull, 65536ull, 0ull, 0xffff0000ull, 0ull, 0ull, 0ull, 0ull, 1ull << 30}) {
        Append(&record, entry, 4);
      }
    } else {
      record.resize(84);
    }
    more = kind >= 200 ? kind : 0;
    Append(&record, more, 4);
  } else {
    constexpr std::array<uint32_t, 6> kRates = {8000, 44100, 768000, 50'000'001, 0, 0xffffffff};
    const uint8_t kind = script.Take8();
    Append(&record, 1 + kind % 7u, 4);
    Append(&record, kRates[script.Take8() % kRates.size()], 4);
    const uint32_t channels = Dimension(script);
    Append(&record, channels, 4);
    Append(&record, kind / 8 % 2, 1);
    Append(&record, kind % 9, 1);
    const uint8_t layout = kind / 16 % 4;
    Append(&record, layout, 1);
    Append(&record, 0, 5);
    Append(&record,
           layout == 1 && channels > 0 && channels <= 64 ? ~uint64_t{0} >> (64 - channels) : 0, 8);
    for (uint64_t i = 0; i < 64; ++i) Append(&record, layout == 2 && i < channels ? 63 - i : 0, 1);
  }
  record.resize(128 + more);
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
  const uint8_t fields = (flags & 0x60) == 0x40 ? 0x20 : flags & 0x60;
  Append(&message, (flags % 4 == 3 ? flags & 0x1du : flags & 0x1fu) | fields, 2);
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
    if (!format.video && format.planar) {
      const uint64_t next = stride + gap / 16;
      Append(&message, 0, 4);
      Append(&message, next, 4);
      end = offset + next * (format.channels - 1) + stride;
      break;
    }
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
    const std::size_t at = script.Take8() % std::min<std::size_t>(message->size(), 128);
    (*message)[at] = std::byte{script.Take8()};
  }
  const uint8_t length = script.Take8();
  if (length >= 250)
    message->resize(message->size() - std::min<std::size_t>(message->size(), length - 249u));
  if (length >= 240 && length < 250) message->resize(message->size() + length - 239u);
}

}  // namespace parley::fuzz
