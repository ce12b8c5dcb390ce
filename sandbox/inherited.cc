// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/inherited.h"

#include <fcntl.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "absl/status/status.h"

namespace parley {

absl::StatusOr<UniqueFd> TakeInheritedFd(const std::string& name) {
  // Before there are threads, as the header demands.
  const char* text = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (text == nullptr) {
    return absl::NotFoundError(name + " is not set: no descriptor was inherited under that name");
  }
  int number = -1;
  const char* const end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, number);
  if (error != std::errc() || stopped != end || number < 3) {
    return absl::InvalidArgumentError(name + " is not the number of an inherited descriptor");
  }
  if (::fcntl(number, F_SETFD, FD_CLOEXEC) != 0) {
    return absl::InvalidArgumentError(name + " names a descriptor that is not open");
  }
  ::unsetenv(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  return UniqueFd(number);
}

}  // namespace parley
