// SPDX-License-Identifier: Apache-2.0
#include "parley/os/errors.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace parley {
namespace {

const char* Advice(int error_number) {
  switch (error_number) {
    case EFBIG:
      return "; shared memory counts against RLIMIT_FSIZE (ulimit -f): raise it";
    case EMFILE:
      return "; this process is at its descriptor limit (ulimit -n): raise it or close some";
    case ENFILE:
      return "; the whole system is out of file handles (fs.file-max)";
    case ENOMEM:
    case ENOSPC:
      return "; no memory left for shared pages: ask for less or raise the memory limit";
    default:
      return "";
  }
}

absl::StatusCode Code(int error_number) {
  switch (error_number) {
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
    case ENOBUFS:
      return absl::StatusCode::kResourceExhausted;
    case EACCES:
    case EPERM:
      return absl::StatusCode::kPermissionDenied;
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return absl::StatusCode::kAlreadyExists;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return absl::StatusCode::kUnavailable;
    case ETIMEDOUT:
      return absl::StatusCode::kDeadlineExceeded;
    case ENOSYS:
    case EOPNOTSUPP:
      return absl::StatusCode::kUnimplemented;
    default:
      return absl::StatusCode::kInternal;
  }
}

// strerror_r returns the text, which may or may not be in the buffer (glibc), or whether the text
// is there (musl and POSIX). One of the two is not used.
[[maybe_unused]] const char* TextOf(const char* text, const char*) { return text; }
[[maybe_unused]] const char* TextOf(int error, const char* buffer) {
  return error == 0 ? buffer : "unknown error";
}

}  // namespace

std::string ErrnoText(int error_number) {
  char buffer[128] = {};
  return TextOf(::strerror_r(error_number, buffer, sizeof(buffer)), buffer);
}

absl::Status ErrnoStatus(int error_number, std::string_view what) {
  std::string message = "cannot ";
  message.append(what);
  message.append(": ");
  message.append(ErrnoText(error_number));
  message.append(Advice(error_number));
  return absl::Status(Code(error_number), message);
}

}  // namespace parley
