// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_OUTPUT_FILE_H_
#define PARLEY_CLI_OUTPUT_FILE_H_

// A file that appears under its name only when it is published, whole; until then it has no name
// where the file system can do that (O_TMPFILE), so that not even SIGKILL leaves anything behind,
// and a temporary one beside it where not.
//
// A path that names something else than a regular file (a pipe, /dev/null) is written to directly.
//
// An error of writing is a sentence of its own: a full disk, a quota, the limit on the size of
// files, a pipe whose reader has left. What was whole before it (Mark) can still be published.
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

namespace parley::cli {

class OutputFile {
 public:
  static absl::StatusOr<OutputFile> Create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept
      : fd_(std::move(other.fd_)),
        path_(std::move(other.path_)),
        temporary_(std::exchange(other.temporary_, {})),
        direct_(other.direct_),
        swallows_(other.swallows_),
        buffer_(std::move(other.buffer_)),
        size_bytes_(other.size_bytes_),
        whole_bytes_(other.whole_bytes_),
        marked_bytes_(other.marked_bytes_),
        broken_(other.broken_) {}
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  absl::Status Write(absl::Span<const std::byte> bytes);
  // What was written so far is whole: a picture, a block. An error later doesn't take it back.
  void Mark() {
    marked_bytes_ = size_bytes_;
    if (buffer_.empty()) whole_bytes_ = marked_bytes_;
  }
  bool broken() const { return broken_; }
  // What Publish will keep.
  uint64_t whole_bytes() const { return broken_ ? whole_bytes_ : size_bytes_; }
  // Overwrites what was written before. kFailedPrecondition for a pipe and the like.
  absl::Status WriteAt(off_t offset, absl::Span<const std::byte> bytes);
  // Gives the file its name, replacing what had it. The last call. After an error of Write, what
  // was marked gets the name; kDataLoss where nothing was.
  absl::Status Publish();

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }
  // Written to directly: no second file can follow it, and nothing be overwritten.
  bool direct() const { return direct_; }
  // /dev/null and the like, which take any number of files one behind the other.
  bool swallows() const { return swallows_; }

 private:
  OutputFile(std::string path, UniqueFd fd, std::string temporary, bool direct);
  absl::Status Flush();
  absl::Status WriteOut(absl::Span<const std::byte> bytes);
  absl::Status Broken(int error_number);
  absl::Status GiveName();

  UniqueFd fd_;
  std::string path_;
  std::string temporary_;  // empty: the file has no name yet, or has its own
  bool direct_ = false;
  bool swallows_ = false;
  std::vector<std::byte> buffer_;
  uint64_t size_bytes_ = 0;
  uint64_t whole_bytes_ = 0;  // of what was marked, what has left the buffer
  uint64_t marked_bytes_ = 0;
  bool broken_ = false;
};

}  // namespace parley::cli

#endif  // PARLEY_CLI_OUTPUT_FILE_H_
