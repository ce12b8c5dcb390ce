// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/seals.h"

#include <cerrno>

#include "parley/os/errors.h"

namespace parley {

std::string SealNames(SealSet seals) {
  struct Name {
    SealSet seal;
    const char* name;
  };
  static constexpr Name kNames[] = {
      {F_SEAL_SEAL, "SEAL"},   {F_SEAL_SHRINK, "SHRINK"}, {F_SEAL_GROW, "GROW"},
      {F_SEAL_WRITE, "WRITE"}, {F_SEAL_EXEC, "EXEC"},     {F_SEAL_FUTURE_WRITE, "FUTURE_WRITE"},
  };
  std::string result;
  for (const Name& entry : kNames) {
    if ((seals & entry.seal) == 0) continue;
    if (!result.empty()) result += ", ";
    result += entry.name;
  }
  constexpr SealSet kNamed =
      F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_EXEC | F_SEAL_FUTURE_WRITE;
  if ((seals & ~kNamed) != 0) result += result.empty() ? "unknown" : ", unknown";
  return result.empty() ? "none" : result;
}

absl::StatusOr<SealSet> GetSeals(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals >= 0) return static_cast<SealSet>(seals);
  if (errno == EINVAL) {
    return absl::InvalidArgumentError("the descriptor is no memfd: it knows no seals");
  }
  if (errno == EBADF) {
    return absl::InvalidArgumentError("the descriptor is no memfd: it is closed or path-only");
  }
  return ErrnoStatus(errno, "read the seals of a memfd");
}

absl::Status AddSeals(int fd, SealSet seals) {
  absl::StatusOr<SealSet> present = GetSeals(fd);
  if (!present.ok()) return present.status();
  const SealSet missing = seals & ~*present;
  if (missing == 0) return absl::OkStatus();
  if (::fcntl(fd, F_ADD_SEALS, missing) == 0) return absl::OkStatus();
  if (errno == EBUSY) {
    return absl::FailedPreconditionError(
        "cannot seal a memfd against writing: a writable mapping or an I/O operation still has "
        "its "
        "pages");
  }
  return ErrnoStatus(errno, "add the seals " + SealNames(missing) + " to a memfd");
}

absl::Status VerifySeals(int fd, SealSet required) {
  absl::StatusOr<SealSet> present = GetSeals(fd);
  if (!present.ok()) return present.status();
  const SealSet missing = required & ~*present;
  if (missing != 0) {
    return absl::InvalidArgumentError("the memfd lacks seals: " + SealNames(missing));
  }
  SealSet harmless = F_SEAL_EXEC;
  if ((required & F_SEAL_WRITE) != 0) harmless |= F_SEAL_FUTURE_WRITE;
  const SealSet surplus = *present & ~(required | harmless);
  if (surplus == 0) return absl::OkStatus();
  return absl::InvalidArgumentError("the memfd has seals that nobody asked for: " +
                                    SealNames(surplus));
}

}  // namespace parley
