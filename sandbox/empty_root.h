// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_EMPTY_ROOT_H_
#define PARLEY_SANDBOX_EMPTY_ROOT_H_

// The worker's side of the empty root: asks the holder of its namespaces for it.
//
// Trust: the holder is our parent's code. Nothing hostile has run in this process yet.
// Threads: any; all threads that share the root of this one are moved.

namespace parley::internal {

// Sends the question; other steps of lock-down that need no files can be made meanwhile. 0 or an
// errno.
int AskForEmptyRoot(int holder_socket);

// 0 once the root is an empty directory, with no file of the system's below or above it, and this
// process's directory is in it. Else an errno: ENOSYS where the kernel cannot, ETIMEDOUT, EPIPE.
int AwaitEmptyRoot(int holder_socket);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_EMPTY_ROOT_H_
