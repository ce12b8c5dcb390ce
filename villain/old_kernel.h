// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_OLD_KERNEL_H_
#define PARLEY_VILLAIN_OLD_KERNEL_H_

// Takes away from the calling process what Linux 6.1 does not have yet and Parley uses where it is
// there: SO_PASSRIGHTS (6.16), SO_PEERPIDFD (6.5), MFD_NOEXEC_SEAL and MFD_EXEC (6.3), mseal
// (6.10). They fail as they fail there. So the ways around them run on every kernel. It is no old
// kernel: what that does differently itself only shows on one (./dev kernels).
//
// Trust: a filter (seccomp) of our own, on our own victim.
// Threads: the calling one, and those and the processes that it makes later.

namespace parley::villain {

// False if this kernel has no filters.
bool ForgetNewKernels();

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_OLD_KERNEL_H_
