// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/nut.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "parley/os/check.h"

namespace parley::cli {

// Numbers one behind the other. Behind the first that is not there, or can't be, all are 0.
class NutNumbers {
 public:
  explicit NutNumbers(absl::Span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t Next() {
    uint64_t value = 0;
    for (std::size_t length = 1; !bytes_.empty() && good(); ++length) {
      const auto byte = std::to_integer<uint8_t>(bytes_[0]);
      // Eight of stuffing, and ten for 64 bits.
      if (length > 18 || value >> 57 != 0) break;
      bytes_.remove_prefix(1);
      value = value << 7 | (byte & 0x7f);
      if ((byte & 0x80) == 0) return value;
    }
    (bytes_.empty() ? short_ : bad_) = true;
    return 0;
  }
  void Skip(uint64_t bytes) {
    if (bytes > bytes_.size()) short_ = true;
    bytes_.remove_prefix(static_cast<std::size_t>(std::min<uint64_t>(bytes, bytes_.size())));
  }
  std::size_t left() const { return bytes_.size(); }
  bool good() const { return !short_ && !bad_; }
  bool bad() const { return bad_; }

 private:
  absl::Span<const std::byte> bytes_;
  bool short_ = false;
  bool bad_ = false;
};

namespace {

constexpr std::string_view kMagic("nut/multimedia container\0", 25);

constexpr uint64_t kMain = 0x4e4d'7a56'1f5f'04ad;
constexpr uint64_t kStream = 0x4e53'1140'5bf2'f9db;
constexpr uint64_t kSyncpoint = 0x4e4b'e4ad'eeca'4569;
constexpr uint64_t kIndex = 0x4e58'dd67'2f23'e64e;

enum Flag : uint64_t {
  kKey = 1,
  kEndOfRelevance = 2,
  kCodedTime = 8,
  kCodedStream = 16,
  kCodedSize = 32,
  kChecksum = 64,
  kCodedReserved = 128,
  kCodedHeader = 1024,
  kMatchTime = 2048,
  kCoded = 4096,
  kInvalid = 8192,
};

constexpr uint64_t kMaxStreams = 250;
constexpr uint64_t kMaxTimeBases = 250;
constexpr uint64_t kMaxFields = 64;
constexpr uint64_t kMaxReserved = 8;
constexpr uint64_t kMaxElided = 127;
constexpr uint64_t kMaxElidedBytes = 1024;
constexpr uint64_t kMaxDistance = 65536;
constexpr uint64_t kMaxSyncpointBytes = 512;
constexpr std::size_t kMaxLeadBytes = 384;
constexpr std::size_t kChecksumBytes = 4;
// A header of a packet that is longer has a checksum, and a frame that is longer no elided bytes.
constexpr uint64_t kLongBytes = 4096;

// The generator is 0x104c11db7, the most significant bit comes first, and nothing is inverted.
constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table = {};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i << 24;
    for (int bit = 0; bit < 8; ++bit) value = value << 1 ^ (value >> 31 != 0 ? 0x04c1'1db7 : 0);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = MakeCrcTable();

// With its checksum behind it, anything comes to 0.
uint32_t Crc(uint32_t crc, absl::Span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    crc = crc << 8 ^ kCrcTable[crc >> 24 ^ std::to_integer<uint32_t>(byte)];
  }
  return crc;
}

uint64_t BigEndian(absl::Span<const std::byte> bytes) {
  return std::accumulate(
      bytes.begin(), bytes.end(), uint64_t{0},
      [](uint64_t value, std::byte byte) { return value << 8 | std::to_integer<uint64_t>(byte); });
}

std::string NameOfPacket(uint64_t startcode) {
  switch (startcode) {
    case kMain:
      return "a main header";
    case kStream:
      return "a stream header";
    case kSyncpoint:
      return "a syncpoint";
    case kIndex:
      return "an index";
    default:
      return "a packet";
  }
}

}  // namespace

absl::Status NutSplitter::Bad(const std::string& what) const {
  return absl::DataLossError(absl::StrCat("this NUT is damaged at byte ", begin_, ": ", what));
}

// It may be an honest one.
absl::Status NutSplitter::TooMuch(const std::string& what) const {
  return absl::DataLossError(absl::StrCat("this NUT has at byte ", begin_, " ", what));
}

uint64_t NutSplitter::undecided_bytes() const {
  if (undecided_) return position_ - unit_begin_;
  const bool may_be_one = !lead_.empty() && lead_[0] == std::byte{'N'};
  return headers_begun_ && left_ == 0 && may_be_one ? lead_.size() : 0;
}

void NutSplitter::Begin() {
  begin_ = position_;
  if (startcode_ != kSyncpoint) whole_end_ = position_;
  lead_.clear();
  lead_min_ = 0;
  left_ = 0;
  startcode_ = 0;
  content_.clear();
}

void NutSplitter::Resume(uint64_t position) {
  PARLEY_CHECK(headers_whole(), "NutSplitter: nothing can go on before the headers");
  position_ = position;
  startcode_ = 0;
  Begin();
  undecided_ = false;
  must_resume_ = true;
}

absl::Status NutSplitter::End() const {
  if (!over_.ok()) return over_;
  if (position_ == 0) return absl::DataLossError("this is no NUT: it is empty");
  if (position_ > begin_) return Bad("the input ends in the middle of what begins here");
  if (!headers_whole()) return Bad("the input ends before all headers came");
  return absl::OkStatus();
}

absl::StatusOr<NutSplitter::Step> NutSplitter::Take(absl::Span<const std::byte> bytes) {
  Step step;
  while (over_.ok() && step.taken < bytes.size() && step.found == Found::kNothing) {
    if (left_ == 0) {
      lead_.push_back(bytes[step.taken++]);
      ++position_;
      over_ = TakeLead(&step);
      continue;
    }
    const auto part = bytes.subspan(
        step.taken, static_cast<std::size_t>(std::min<uint64_t>(left_, bytes.size() - step.taken)));
    step.taken += part.size();
    position_ += part.size();
    left_ -= part.size();
    if (startcode_ != 0) checksum_ = Crc(checksum_, part);
    if (startcode_ == kMain || startcode_ == kStream || startcode_ == kSyncpoint) {
      content_.insert(content_.end(), part.begin(), part.end());
    }
    if (left_ > 0) continue;
    if (startcode_ != 0) over_ = EndPacket(&step);
    if (over_.ok()) Begin();
  }
  if (!over_.ok()) return over_;
  return step;
}

absl::Status NutSplitter::TakeLead(Step* step) {
  if (begin_ == 0) {
    const std::size_t last = lead_.size() - 1;
    if (lead_[last] != static_cast<std::byte>(kMagic[last])) {
      return absl::DataLossError("this is no NUT: it does not begin as one");
    }
    if (lead_.size() == kMagic.size()) Begin();
    return absl::OkStatus();
  }
  if (lead_[0] == std::byte{'N'}) return TakePacketLead(step);
  if (must_resume_ && !undecided_) return Bad("a stream goes on here without a syncpoint");
  return TakeFrameLead(step);
}

// Whether the unit that has begun is a resume point.
absl::Status NutSplitter::Decide(bool resume, Step* step) {
  if (!undecided_) return absl::OkStatus();
  undecided_ = false;
  if (must_resume_ && !resume) return Bad("a stream goes on here without a key frame");
  must_resume_ = false;
  if (!resume) return absl::OkStatus();
  step->found = Found::kResumePoint;
  step->found_bytes = position_ - unit_begin_;
  return absl::OkStatus();
}

absl::Status NutSplitter::TakePacketLead(Step* step) {
  if (lead_.size() < 8) return absl::OkStatus();
  const uint64_t startcode = BigEndian(absl::MakeConstSpan(lead_).first(8));
  if (lead_.size() == 8) {
    if (!headers_begun_ && startcode != kMain) return Bad("no main header where one belongs");
    if (must_resume_ && !undecided_ && startcode != kSyncpoint) {
      return Bad("a stream goes on here without a syncpoint");
    }
    if (startcode != kSyncpoint) return absl::OkStatus();
    if (!headers_whole()) return Bad("a syncpoint before all stream headers");
    if (absl::Status known = Decide(false, step); !known.ok()) return known;
    unit_begin_ = begin_;
    whole_end_ = begin_;
    undecided_ = true;
    if (synced_) return absl::OkStatus();
    synced_ = true;
    step->found = Found::kHeadersEnd;
    step->found_bytes = 8;
    return absl::OkStatus();
  }
  NutNumbers in(absl::MakeConstSpan(lead_).subspan(8));
  const uint64_t size = in.Next();
  if (in.bad()) return Bad(absl::StrCat("the length of ", NameOfPacket(startcode)));
  if (!in.good()) return absl::OkStatus();
  if (size > kLongBytes) {
    in.Skip(kChecksumBytes);
    if (!in.good()) return absl::OkStatus();
    if (Crc(0, lead_) != 0) {
      return Bad(absl::StrCat("the checksum of ", NameOfPacket(startcode), "'s length"));
    }
  }
  if (size < kChecksumBytes) {
    return Bad(absl::StrCat(NameOfPacket(startcode), " of ", size, " bytes"));
  }
  if (size > max_frame_bytes_) {
    return TooMuch(
        absl::StrCat(NameOfPacket(startcode), " of more than ", max_frame_bytes_, " bytes"));
  }
  const bool is_header = !synced_ || startcode == kMain || startcode == kStream;
  if (is_header && (synced_ ? 0 : position_) + size > kMaxNutHeaderBytes) {
    return TooMuch(absl::StrCat("headers of more than ", kMaxNutHeaderBytes, " bytes"));
  }
  if (startcode == kSyncpoint && size > kMaxSyncpointBytes) {
    return TooMuch(absl::StrCat("a syncpoint of more than ", kMaxSyncpointBytes, " bytes"));
  }
  startcode_ = startcode;
  checksum_ = 0;
  left_ = size;
  const bool far = position_ + size - unit_begin_ > kMaxNutUndecidedBytes;
  return far ? Decide(false, step) : absl::OkStatus();
}

absl::Status NutSplitter::EndPacket(Step* step) {
  if (checksum_ != 0) return Bad(absl::StrCat("the checksum of ", NameOfPacket(startcode_)));
  if (startcode_ == kMain) return ReadMain();
  if (startcode_ == kStream) return ReadStream();
  if (startcode_ == kSyncpoint) {
    NutNumbers in(absl::MakeConstSpan(content_).first(content_.size() - kChecksumBytes));
    in.Next();
    in.Next();
    if (!in.good()) return Bad("a syncpoint without a time or a back pointer");
  }
  if (startcode_ == kSyncpoint || startcode_ == kIndex) {
    step->found = startcode_ == kIndex ? Found::kIndex : Found::kSyncpoint;
    step->found_bytes = position_ - begin_;
  }
  return absl::OkStatus();
}

absl::Status NutSplitter::ReadMain() {
  const auto whole = absl::MakeConstSpan(content_);
  const auto checksum = static_cast<uint32_t>(BigEndian(whole.last(kChecksumBytes)));
  if (headers_begun_) {
    if (checksum == main_checksum_) return absl::OkStatus();
    return Bad("another main header than the first: two streams, one behind the other");
  }
  NutNumbers in(whole.first(whole.size() - kChecksumBytes));
  const uint64_t version = in.Next();
  if (version < 2 || version > 4) {
    return TooMuch(absl::StrCat("version ", version, "; known: 2 to 4"));
  }
  if (version > 3) in.Next();  // the minor version
  const uint64_t streams = in.Next();
  if (streams < 1 || streams > kMaxStreams) {
    return TooMuch(absl::StrCat(streams, " streams; allowed: 1 to ", kMaxStreams));
  }
  max_distance_ = std::min(in.Next(), kMaxDistance);
  const uint64_t time_bases = in.Next();
  if (time_bases < 1 || time_bases > kMaxTimeBases) {
    return TooMuch(absl::StrCat(time_bases, " time bases; allowed: 1 to ", kMaxTimeBases));
  }
  for (uint64_t i = 0; i < 2 * time_bases; ++i) in.Next();
  streams_.resize(static_cast<std::size_t>(streams));
  if (absl::Status read = ReadFrameCodes(&in); !read.ok()) return read;
  elided_bytes_.assign(1, 0);
  const uint64_t elided = in.good() && in.left() > 0 ? in.Next() : 0;
  if (elided > kMaxElided) {
    return TooMuch(absl::StrCat(elided, " elision headers; allowed: ", kMaxElided));
  }
  uint64_t sum = 0;
  for (uint64_t i = 0; i < elided; ++i) {
    elided_bytes_.push_back(in.Next());
    sum += std::min(elided_bytes_.back(), kMaxElidedBytes + 1);
    in.Skip(elided_bytes_.back());
  }
  if (sum > kMaxElidedBytes) {
    return TooMuch(absl::StrCat("elision headers of more than ", kMaxElidedBytes, " bytes"));
  }
  if (version > 3 && in.good() && in.left() > 0) pipe_ = (in.Next() & 2) != 0;
  if (!in.good()) return Bad("a main header that ends too early");
  headers_begun_ = true;
  main_checksum_ = checksum;
  return absl::OkStatus();
}

absl::Status NutSplitter::ReadFrameCodes(NutNumbers* in) {
  uint64_t size_mul = 1;
  uint64_t stream = 0;
  uint64_t header = 0;
  for (std::size_t i = 0; i < codes_.size();) {
    const uint64_t flags = in->Next();
    const uint64_t fields = in->Next();
    if (fields > kMaxFields) return TooMuch(absl::StrCat("frame codes of ", fields, " fields"));
    if (fields > 0) in->Next();
    if (fields > 1) size_mul = in->Next();
    if (fields > 2) stream = in->Next();
    const uint64_t size = fields > 3 ? in->Next() : 0;
    const uint64_t reserved = fields > 4 ? in->Next() : 0;
    const uint64_t count = fields > 5 ? in->Next() : size_mul - size;
    if (fields > 6) in->Next();
    if (fields > 7) header = in->Next();
    for (uint64_t j = 8; j < fields; ++j) in->Next();
    if (!in->good()) return Bad("frame codes that end too early");
    if (count == 0 || count > codes_.size() - i - (i <= 'N' ? 1 : 0)) {
      return Bad(absl::StrCat("more than 256 frame codes, or none, from number ", i, " on"));
    }
    if (size_mul >= 16384 || size >= 16384) return Bad("a frame code's size of 16384 or more");
    if (stream >= streams_.size()) return Bad(absl::StrCat("a frame code of stream ", stream));
    if (reserved > kMaxReserved) {
      return TooMuch(absl::StrCat("more than ", kMaxReserved, " reserved fields of a frame"));
    }
    for (uint64_t j = 0; j < count; ++i) {
      if (i == 'N') continue;
      codes_[i] = {flags,
                   static_cast<uint32_t>(stream),
                   static_cast<uint32_t>(size_mul),
                   static_cast<uint32_t>(size + j),
                   static_cast<uint32_t>(reserved),
                   header};
      ++j;
    }
  }
  return absl::OkStatus();
}

absl::Status NutSplitter::ReadStream() {
  const auto whole = absl::MakeConstSpan(content_);
  NutNumbers in(whole.first(whole.size() - kChecksumBytes));
  const uint64_t number = in.Next();
  const uint64_t kind = in.Next();
  if (!in.good()) return Bad("a stream header that ends too early");
  if (number >= streams_.size()) return Bad(absl::StrCat("a header of stream ", number));
  const auto checksum = static_cast<uint32_t>(BigEndian(whole.last(kChecksumBytes)));
  Stream& stream = streams_[static_cast<std::size_t>(number)];
  if (stream.seen && stream.checksum != checksum) {
    return Bad(absl::StrCat("another header of stream ", number, " than the first"));
  }
  if (!stream.seen) ++streams_seen_;
  stream = {true, kind == 0, checksum};
  return absl::OkStatus();
}

absl::Status NutSplitter::TakeFrameLead(Step* step) {
  if (!synced_) return Bad("a frame before the first syncpoint");
  const FrameCode& code = codes_[std::to_integer<uint8_t>(lead_[0])];
  // Each number ends with a byte below 128, and is looked at then.
  if (lead_.size() == 1) {
    if ((code.flags & kInvalid) != 0) return Bad("a frame code that the main header forbids");
    if (!pipe_ && begin_ > unit_begin_ + max_distance_) {
      return Bad(absl::StrCat("a frame more than ", max_distance_, " bytes behind its syncpoint"));
    }
  } else if (lead_min_ == 0 && std::to_integer<uint8_t>(lead_.back()) >= 0x80) {
    if (lead_.size() > kMaxLeadBytes) return Bad("a frame's header without an end");
    return absl::OkStatus();
  }
  if (lead_.size() < lead_min_) return absl::OkStatus();
  NutNumbers in(absl::MakeConstSpan(lead_).subspan(1));
  uint64_t flags = code.flags;
  if ((flags & kCoded) != 0) flags ^= in.Next();
  const uint64_t stream = (flags & kCodedStream) != 0 ? in.Next() : code.stream;
  if ((flags & kCodedTime) != 0) in.Next();
  const uint64_t size_msb = (flags & kCodedSize) != 0 ? in.Next() : 0;
  if ((flags & kMatchTime) != 0) in.Next();
  const uint64_t coded_header = (flags & kCodedHeader) != 0 ? in.Next() : code.header;
  const uint64_t reserved = (flags & kCodedReserved) != 0 ? in.Next() : code.reserved;
  if (reserved > kMaxReserved) {
    return TooMuch(absl::StrCat("more than ", kMaxReserved, " reserved fields of a frame"));
  }
  for (uint64_t i = 0; i < reserved; ++i) in.Next();
  if (in.bad()) return Bad("a number of a frame's header");
  if (!in.good()) return absl::OkStatus();
  if ((flags & kChecksum) != 0) {
    if (in.left() < kChecksumBytes) {
      lead_min_ = lead_.size() - in.left() + kChecksumBytes;
      return absl::OkStatus();
    }
    if (Crc(0, lead_) != 0) return Bad("the checksum of a frame's header");
  }
  if (stream >= streams_.size()) return Bad(absl::StrCat("a frame of stream ", stream));
  if (coded_header >= elided_bytes_.size()) {
    return Bad(absl::StrCat("a frame with elision header ", coded_header));
  }
  if (size_msb > max_frame_bytes_ || code.size_lsb + code.size_mul * size_msb > max_frame_bytes_) {
    return TooMuch(absl::StrCat("a frame of more than ", max_frame_bytes_, " bytes"));
  }
  const uint64_t size = code.size_lsb + code.size_mul * size_msb;
  if (!pipe_ && size > 2 * max_distance_ && (flags & kChecksum) == 0) {
    return Bad(absl::StrCat("a frame of ", size, " bytes without a checksum"));
  }
  const uint64_t elided =
      size > kLongBytes ? 0 : elided_bytes_[static_cast<std::size_t>(coded_header)];
  if (elided > size) return Bad("a frame that is shorter than its elision header");
  left_ = size - elided;
  absl::Status known;
  const auto video =
      std::find_if(streams_.begin(), streams_.end(), [](const Stream& one) { return one.video; });
  const bool counts =
      video == streams_.end() || static_cast<uint64_t>(video - streams_.begin()) == stream;
  if (counts) known = Decide((flags & (kKey | kEndOfRelevance)) == kKey, step);
  if (known.ok() && position_ + left_ - unit_begin_ > kMaxNutUndecidedBytes) {
    known = Decide(false, step);
  }
  if (left_ == 0) Begin();
  return known;
}

void ShortenNutBackPointer(absl::Span<std::byte> syncpoint, uint64_t max_div16) {
  const auto end_of_number = [&](std::size_t at) {
    while ((syncpoint[at] & std::byte{0x80}) != std::byte{0}) ++at;
    return at + 1;
  };
  const std::size_t content = end_of_number(8);
  const std::size_t begin = end_of_number(content);
  const std::size_t end = end_of_number(begin);
  NutNumbers in(syncpoint.subspan(begin, end - begin));
  if (in.Next() <= max_div16) return;
  // As long as it was: a number may begin with bytes that are 0 but for the bit that says that more
  // follow.
  for (std::size_t at = end; at-- > begin; max_div16 >>= 7) {
    syncpoint[at] = static_cast<std::byte>((max_div16 & 0x7f) | (at + 1 < end ? 0x80 : 0));
  }
  const std::size_t length = syncpoint.size() - kChecksumBytes;
  uint32_t crc = Crc(0, syncpoint.subspan(content, length - content));
  for (std::size_t at = length; at < syncpoint.size(); ++at, crc <<= 8) {
    syncpoint[at] = static_cast<std::byte>(crc >> 24);
  }
}

}  // namespace parley::cli
