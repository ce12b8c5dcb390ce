// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_BPF_H_
#define PARLEY_SANDBOX_BPF_H_

// A small interpreter of classic BPF, the language of seccomp filters: written from the kernel's
// rules and not from the compiler's (sandbox/filter_compiler.h), so that the two check each other.
//
// Trust: the program is our compiler's. One that the kernel would refuse (a jump out of it, an
// instruction that we do not know, no return) answers "kill the process".
// Threads: any.

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>

#include "absl/types/span.h"

namespace parley::internal {

// What the program returns for one call: a SECCOMP_RET_* action and its data.
uint32_t RunFilter(absl::Span<const sock_filter> program, const seccomp_data& call);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_BPF_H_
