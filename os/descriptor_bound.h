// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_DESCRIPTOR_BOUND_H_
#define PARLEY_OS_DESCRIPTOR_BOUND_H_

// For a child that closes what it inherited one by one: where close_range(2) is missing (before
// Linux 5.9), or refused by a filter around this process that is older than the call.
//
// Threads: any; others may open descriptors meanwhile.

namespace parley {

// 0 where close_range works here. Otherwise more than the highest number that this process has, or
// will have after a few more calls that open something: twice the size of the kernel's table, or
// the limit (RLIMIT_NOFILE) where /proc does not say. One system call, four where close_range
// fails.
int DescriptorBoundWithoutCloseRange();

}  // namespace parley

#endif  // PARLEY_OS_DESCRIPTOR_BOUND_H_
