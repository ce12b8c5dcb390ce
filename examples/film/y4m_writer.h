#ifndef PARLEY_EXAMPLES_FILM_Y4M_WRITER_H_
#define PARLEY_EXAMPLES_FILM_Y4M_WRITER_H_

// Writes pictures as YUV4MPEG2, which ffmpeg, mpv and x264 read. The format knows one size and one
// rate per file: when they change in mid-stream, film.y4m is followed by film-2.y4m and so on. It
// has no timestamps, so a film of variable rate keeps its pictures and loses its timing.
//
// Threads: one at a time.
//
//   Y4mWriter writer("film.y4m");
//   if (auto s = writer.Write(picture); !s.ok()) return s;
//   return writer.Finish();

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/output_file.h"

namespace parley::film {

// "film.y4m", 1 -> itself; "film.y4m", 2 -> "film-2.y4m".
std::string PartPath(const std::string& path, int part);

class Y4mWriter {
 public:
  explicit Y4mWriter(std::string path) : path_(std::move(path)) {}

  absl::Status Write(const Picture& picture);
  // Publishes what was written, if there was anything.
  absl::Status Finish();
  // The files published so far.
  const std::vector<std::string>& files() const { return files_; }

 private:
  absl::Status Begin(const VideoFormat& format);

  std::string path_;
  std::vector<std::string> files_;
  std::optional<OutputFile> file_;
  VideoFormat format_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_Y4M_WRITER_H_
