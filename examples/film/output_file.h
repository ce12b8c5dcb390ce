#ifndef PARLEY_EXAMPLES_FILM_OUTPUT_FILE_H_
#define PARLEY_EXAMPLES_FILM_OUTPUT_FILE_H_

// A file that appears under its name only when it is published, whole; until then it has no name
// where the file system can do that (O_TMPFILE), so that not even SIGKILL leaves anything behind,
// and a temporary one beside it where not.
//
// A path that names something else than a regular file (a pipe, /dev/null) is written to directly.
//
// Threads: one at a time.
//
//   auto file = OutputFile::Create("film.y4m");
//   if (!file.ok()) return file.status();
//   if (auto written = file->Write(bytes); !written.ok()) return written;
//   return file->Publish();              // without this, nothing is left

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/os/unique_fd.h"

namespace parley::film {

class OutputFile {
 public:
  static absl::StatusOr<OutputFile> Create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept
      : fd_(std::move(other.fd_)),
        path_(std::move(other.path_)),
        temporary_(std::exchange(other.temporary_, {})),
        direct_(other.direct_),
        buffer_(std::move(other.buffer_)),
        size_bytes_(other.size_bytes_) {}
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  absl::Status Write(absl::Span<const std::byte> bytes);
  // Overwrites what was written before. kFailedPrecondition for a pipe and the like.
  absl::Status WriteAt(off_t offset, absl::Span<const std::byte> bytes);
  // Gives the file its name, replacing what had it. The last call.
  absl::Status Publish();

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  OutputFile(std::string path, UniqueFd fd, std::string temporary, bool direct);
  absl::Status Flush();
  absl::Status WriteOut(absl::Span<const std::byte> bytes);

  UniqueFd fd_;
  std::string path_;
  std::string temporary_;  // empty: the file has no name yet, or has its own
  bool direct_ = false;
  std::vector<std::byte> buffer_;
  uint64_t size_bytes_ = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_OUTPUT_FILE_H_
