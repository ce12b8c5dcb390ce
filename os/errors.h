// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_ERRORS_H_
#define PARLEY_OS_ERRORS_H_

// errno as an absl::Status with a sentence that says what was tried and, where there is a usual
// cure, what to do about it (raise a limit, free memory).
//
// Threads: any.
//
//   if (fd < 0) return ErrnoStatus(errno, "create a memfd");

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace parley {

// The C library's text for an errno, as in "No such file or directory".
std::string ErrnoText(int error_number);

// A status for a failed system call. `what` completes "cannot ...". EFBIG, EMFILE, ENFILE, ENOMEM
// and ENOSPC become kResourceExhausted with advice; EINTR must not get here.
absl::Status ErrnoStatus(int error_number, std::string_view what);

}  // namespace parley

#endif  // PARLEY_OS_ERRORS_H_
