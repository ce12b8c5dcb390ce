// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_TEMPLATE_MAIN_H_
#define PARLEY_SANDBOX_TEMPLATE_MAIN_H_

// The worker program's side of a template: it has done what is slow and the same for each worker
// (loading, relocation, tables of libraries), and makes a copy of itself for each one. The host's
// side: sandbox/worker_template.h.
//
// A clone is the host's own child, in namespaces of its own where they can be made. It shares no
// writable memory with the template or another clone (all of it is private, copied on write), has
// no descriptor of theirs and no environment but what the host gave it, and locks itself down as
// any worker does.
//
// Fresh in each clone: the stack protector's value (x86-64), the 16 random bytes of the auxiliary
// vector, thread id and restartable sequences of libc, and whatever `in_clone` draws anew.
// Shared by all clones of a template: where things lie in memory, libc's pointer guard (setjmp) and
// the key by which malloc finds a double free, and on other processors than x86-64 the stack
// protector's value, which lies in memory that the loader has sealed. So a worker that one input
// has taken over knows addresses of its sisters, as in Android's zygote and Chromium's. That makes
// it easier to take over another one by another input, if both inputs and the way back to the
// attacker are the same person's; the lock-down assumes a worker that was taken over in any case. A
// new template has a new layout: WorkerTemplate's owner starts one after so many clones.
//
// Trust: the template never looks at hostile input. The host's word is good.
// Threads: exactly one: what others hold at the moment of a clone would stay locked in it for ever.
// Checked.

#include <functional>

#include "absl/status/status.h"
#include "parley/os/unique_fd.h"

namespace parley {

// Serves the host over `socket` (the one whose number is in internal::kTemplateVariable). In each
// clone, which has the variables of its descriptors in its environment, runs `in_clone` if there is
// one and then `body`, and ends with exit code 0 when that returns. Ends the template when the host
// has left; returns only an error: kFailedPrecondition for a second thread, or for memory that is
// shared and writable, which clones would have in common.
absl::Status ServeClones(UniqueFd socket, const std::function<void()>& in_clone,
                         const std::function<void()>& body);

}  // namespace parley

#endif  // PARLEY_SANDBOX_TEMPLATE_MAIN_H_
