// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_NUT_H_
#define PARLEY_CLI_NUT_H_

// NUT as a stream: where its headers end, where each frame and packet ends, and from which bytes on
// it can be decoded without what came before. Takes nothing apart that this does not need.
//
// A unit begins with a syncpoint. It is a resume point if its first frame of the first video stream
// is a key frame, where there is no video its first frame, and if that frame's header begins within
// the unit's first 16 KiB. Where the bytes are cut into pieces changes nothing. A decoder that goes
// on there after a gap has all pictures from the key frame's time on; those of an open group that
// are shown before it depend on what was left out.
//
// Source: the NUT Open Container Format, with the fields of version 4 as libavformat writes them.
//
// Trust: the bytes are anybody's. Each number has a limit, packets have checksums, and what is kept
// is a header at most: 64 KiB. A film whose first video stream is a cover alone has one resume
// point.
// Threads: one at a time.
//
//   NutSplitter nut(max_frame_bytes);
//   while (!bytes.empty()) {
//     absl::StatusOr<NutSplitter::Step> step = nut.Take(bytes);   // kDataLoss: what, where
//     ... bytes.first(step->taken), and what was found at their end ...
//     bytes.remove_prefix(step->taken);
//   }

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace parley::cli {

// All that comes before the first syncpoint.
inline constexpr uint64_t kMaxNutHeaderBytes = uint64_t{64} << 10;
// How much of a unit may have to be read before it is known whether it is a resume point, but for
// the header of a frame or packet.
inline constexpr uint64_t kMaxNutUndecidedBytes = uint64_t{16} << 10;

class NutSplitter {
 public:
  enum class Found {
    kNothing,      // all bytes were taken
    kHeadersEnd,   // the first syncpoint has begun
    kResumePoint,  // the unit that has begun is one
    kSyncpoint,    // a whole packet
    kIndex,        // the same
  };
  struct Step {
    std::size_t taken = 0;  // of the bytes that were given
    Found found = Found::kNothing;
    // How many of the last bytes, of this call and those before it, what was found has.
    uint64_t found_bytes = 0;
  };

  // Frames and packets above `max_frame_bytes` are refused.
  explicit NutSplitter(uint64_t max_frame_bytes) : max_frame_bytes_(max_frame_bytes) {}

  // Up to the first thing that is found. kDataLoss, for good: the reason and the byte's number.
  absl::StatusOr<Step> Take(absl::Span<const std::byte> bytes);
  // The end of the input. kDataLoss: in the middle of something.
  absl::Status End() const;

  // What comes next begins at `position` of the stream, and at a resume point: else Take refuses
  // it. What was not whole is forgotten. headers_whole().
  void Resume(uint64_t position);

  // The main header and that of each stream were read.
  bool headers_whole() const { return headers_begun_ && streams_seen_ == streams_.size(); }
  // It says that there are no syncpoints but the first: no resume points.
  bool has_no_syncpoints() const { return pipe_; }

  uint64_t position() const { return position_; }
  // How many of the last bytes are of no use without those that come: of a frame or packet that is
  // not whole, and of the last syncpoint if no whole frame follows it.
  uint64_t open_bytes() const { return position_ - whole_end_; }
  // How many may be those of a resume point. At most kMaxNutUndecidedBytes and 1 KiB.
  uint64_t undecided_bytes() const;

 private:
  struct FrameCode {
    uint64_t flags = 0;
    uint32_t stream = 0;
    uint32_t size_mul = 0;
    uint32_t size_lsb = 0;
    uint32_t reserved = 0;
    uint64_t header = 0;
  };
  struct Stream {
    bool seen = false;
    bool video = false;
    uint32_t checksum = 0;
  };

  absl::Status Bad(const std::string& what) const;
  absl::Status TooMuch(const std::string& what) const;
  absl::Status TakeLead(Step* step);
  absl::Status TakePacketLead(Step* step);
  absl::Status TakeFrameLead(Step* step);
  absl::Status EndPacket(Step* step);
  absl::Status ReadMain();
  absl::Status ReadStream();
  absl::Status ReadFrameCodes(class NutNumbers* in);
  absl::Status Decide(bool resume, Step* step);
  void Begin();

  const uint64_t max_frame_bytes_;
  absl::Status over_;
  uint64_t position_ = 0;
  uint64_t begin_ = 0;      // of the frame or packet that is being read
  uint64_t whole_end_ = 0;  // of the last one, but for syncpoints
  // What it begins with: the file's first bytes, a packet's header, a frame's header.
  std::vector<std::byte> lead_;
  std::size_t lead_min_ = 0;  // to be read before it is looked at again
  uint64_t left_ = 0;         // of what comes behind it
  uint64_t startcode_ = 0;    // of a packet; 0: a frame
  uint32_t checksum_ = 0;     // of a packet, so far
  std::vector<std::byte> content_;

  bool headers_begun_ = false;
  bool synced_ = false;
  bool pipe_ = false;
  uint32_t main_checksum_ = 0;
  uint64_t max_distance_ = 0;
  std::array<FrameCode, 256> codes_ = {};
  std::vector<uint64_t> elided_bytes_;
  std::vector<Stream> streams_;
  std::size_t streams_seen_ = 0;

  uint64_t unit_begin_ = 0;
  bool undecided_ = false;
  bool must_resume_ = false;
};

// Makes the back pointer of a whole syncpoint, in place, point no further back than 16 *
// `max_div16` bytes.
void ShortenNutBackPointer(absl::Span<std::byte> syncpoint, uint64_t max_div16);

}  // namespace parley::cli

#endif  // PARLEY_CLI_NUT_H_
