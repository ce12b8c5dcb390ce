// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_Y4M_WRITER_H_
#define PARLEY_EXAMPLES_FILM_Y4M_WRITER_H_

// Writes pictures as YUV4MPEG2, which ffmpeg, mpv and x264 read: with range, chroma place, aspect
// and field order.
//
// The format knows one size and one rate per file and no times. So pictures are repeated and left
// out where that keeps the film's own time at its nominal rate, as ffmpeg does; and when size or
// format change in mid-stream, film.y4m is followed by film-2.y4m and so on. A pipe cannot be
// followed, and takes no more.
//
// Trust: times may be lies. No picture is repeated for a gap of more than kMaxGapNs: time goes on
// from there.
// Threads: one at a time.
//
//   Acceptance wants;
//   wants.SetPixelFormats(Y4mPixelFormats());
//   Y4mWriter writer("film.y4m");
//   if (auto s = writer.Write(picture); !s.ok()) return s;
//   return writer.Finish();

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "parley/cli/output_file.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/output_names.h"

namespace parley::film {

// "film.y4m", 1 -> itself; "film.y4m", 2 -> "film-2.y4m".
std::string PartPath(const std::string& path, int part);

// What the format can hold; Write takes nothing else.
std::vector<PixelFormat> Y4mPixelFormats();

inline constexpr int64_t kMaxGapNs = int64_t{60} * 1'000'000'000;
// Each change of format begins a file.
inline constexpr size_t kMaxParts = 1000;
inline constexpr uint64_t kMaxFileBytes = uint64_t{4} << 40;
inline constexpr uint32_t kMaxPicturesPerSecond = 1000;

class Y4mWriter {
 public:
  // `names` may be null, and outlives this.
  explicit Y4mWriter(std::string path, OutputNames* names = nullptr)
      : path_(std::move(path)), names_(names) {}

  absl::Status Write(const Picture& picture);
  // Publishes what was written, if there was anything.
  absl::Status Finish();
  // The files published so far.
  const std::vector<std::string>& files() const { return files_; }
  uint64_t repeated() const { return repeated_; }
  uint64_t left_out() const { return left_out_; }
  // What the format cannot say about the pictures in it; empty: nothing.
  const std::string& not_said() const { return not_said_; }

 private:
  absl::Status Begin(const Picture& picture);
  // "FRAME" and the last picture, `times` over.
  absl::Status WritePacked(uint64_t times);

  std::string path_;
  OutputNames* names_;
  std::vector<std::string> files_;
  std::optional<cli::OutputFile> file_;
  VideoFormat format_;
  Ratio rate_;
  std::vector<std::byte> packed_;  // the last picture, behind its "FRAME" line
  int64_t base_ns_ = 0;            // the time of slot 0
  int64_t next_slot_ = 0;          // that a picture is to be written into
  int64_t end_ns_ = 0;             // of the last picture
  bool has_picture_ = false;
  uint64_t repeated_ = 0;
  uint64_t left_out_ = 0;
  std::string not_said_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_Y4M_WRITER_H_
