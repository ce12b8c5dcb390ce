// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/landlock.h"

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"

namespace parley::internal {
namespace {

// Longer than the structure of older headers; a kernel accepts a longer one whose rest is zero.
struct RulesetAttributes {
  uint64_t handled_files;
  uint64_t handled_network;
  uint64_t scoped;
};

uint64_t FileRights(int abi) {
  if (abi >= 5) return (uint64_t{1} << 16) - 1;  // + ioctl on devices
  if (abi >= 3) return (uint64_t{1} << 15) - 1;  // + truncate
  if (abi >= 2) return (uint64_t{1} << 14) - 1;  // + move to another directory
  return (uint64_t{1} << 13) - 1;
}

}  // namespace

absl::StatusOr<int> DenyAllByLandlock() {
  const int abi = static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (abi < 0) {
    // EPERM: the filter of a container engine that is older than Landlock.
    if (errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM) return 0;
    return ErrnoStatus(errno, "ask for Landlock's version");
  }
  const RulesetAttributes attributes = {
      .handled_files = FileRights(abi),
      .handled_network = abi >= 4 ? uint64_t{3} : 0,  // bind and connect TCP
      .scoped = abi >= 6 ? uint64_t{3} : 0,           // abstract unix sockets and signals
  };
  const UniqueFd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0)));
  if (!ruleset.ok()) return ErrnoStatus(errno, "make a Landlock ruleset");
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return ErrnoStatus(errno, "enter a Landlock ruleset");
  }
  return abi;
}

}  // namespace parley::internal
