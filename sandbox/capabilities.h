// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_CAPABILITIES_H_
#define PARLEY_SANDBOX_CAPABILITIES_H_

// Giving up every capability of the calling thread.
//
// Trust: no peer yet; this is for before there is one.
// Threads: capabilities are kept per thread; this is about the calling one. Async-signal-safe, for
// use between clone and exec.

namespace parley::internal {

// Empties the bounding set as far as allowed, the ambient set, and the permitted, effective and
// inheritable sets. 0 or an errno value. With no_new_privs, exec gives none of them back, not even
// to uid 0.
int DropCapabilities();

// In a user namespace that the calling thread has all capabilities in: empties the bounding set,
// and lets the two capabilities to change user and group ids, and no other, survive the next exec.
// 0 or an errno value.
int KeepIdChangesOverExec();

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_CAPABILITIES_H_
