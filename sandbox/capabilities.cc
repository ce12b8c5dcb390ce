// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "parley/sandbox/plain_code.h"

namespace parley::internal {

namespace {

PARLEY_PLAIN_CODE void EmptyBoundingSet() {
  for (unsigned long capability = 0; capability < 64; ++capability) {  // NOLINT: prctl's type
    if (::syscall(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) break;
  }
}

}  // namespace

PARLEY_PLAIN_CODE int DropCapabilities() {
  // Without CAP_SETPCAP the bounding set stays; no_new_privs makes it meaningless.
  EmptyBoundingSet();
  if (::syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return errno;
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return ::syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

PARLEY_PLAIN_CODE int KeepIdChangesOverExec() {
  constexpr unsigned kKept = (1u << CAP_SETUID) | (1u << CAP_SETGID);
  constexpr unsigned kHere = kKept | (1u << CAP_SETPCAP);  // for the bounding set
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{kHere, kHere, kKept}, {}};
  if (::syscall(SYS_capset, &header, sets) != 0) return errno;
  EmptyBoundingSet();
  constexpr unsigned long kEach[] = {CAP_SETUID, CAP_SETGID};  // NOLINT: prctl's type
  for (const unsigned long kept : kEach) {                     // NOLINT
    if (::syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept, 0, 0) != 0) return errno;
  }
  return 0;
}

}  // namespace parley::internal
