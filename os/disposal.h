// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_DISPOSAL_H_
#define PARLEY_OS_DISPOSAL_H_

// Closes descriptors whose last close may take as long as the peer likes.
//
// The last close of a file runs its release in the thread that closes: a TCP socket lingers, a FUSE
// file writes back through its daemon. The same holds for files that lie, as descriptors in flight,
// in the queue of a socket that is closed.
//
// DisposeOf hands such descriptors to a helper process, which closes them by ending:
//   1. it is cloned with our memory shared (no page table is copied: the cost is constant) and a
//      descriptor table of its own, of which it closes all but those descriptors; we wait for that,
//      and one that gets no processor for 0.1 s is none, nor is there another until it is through;
//   2. we close ours, which is not the last reference, and let the helper go on;
//   3. it ends: it leaves our memory, and releases the files after that. A process that ends does
//      not linger on a TCP socket (inet_release in net/ipv4/af_inet.c).
// A helper that hangs there holds nothing but what the peer made: no memory, descriptor, name, port
// or lock of ours, and our own process can end. What one call brings has a helper of its own where
// one is to be had, so that it waits for no other release.
//
// Trust: the peer decides how long a release takes. At most kMaxDisposalHelpers helpers exist at
// once. Where all of them hang, or no process can be made, the descriptors stay open, parked, and
// go with the next helper there is. A listener accepts nobody while DisposalIsFull().
// Threads: any. One that finds another in here for more than 8 ms leaves what it has to that one.
// A helper is no child that wait() of the program reports: it has no exit signal.
// Fork: a child has no helpers, and what its parent had parked, unless a thread was in here.
// System calls: clone, close_range, futex, wait4; none of them waits for the peer. A filter of ours
// (sandbox/) allows no clone: see DisposeInPlaceFromNow.
//
//   DisposeOf(std::move(fd));

#include <cstddef>
#include <vector>

#include "parley/os/unique_fd.h"

namespace parley {

inline constexpr int kMaxDisposalHelpers = 8;
inline constexpr std::size_t kMaxParkedDescriptors = 64;

// About 0.1 ms; 8 ms once where all helpers hang; 0.1 s where its helper gets no processor. Never
// waits for the peer. Keeps errno. Empty ones are left out.
void DisposeOf(UniqueFd fd);
void DisposeOf(std::vector<UniqueFd> fds);
// The same; false, and `fd` stays the caller's, where it would be parked.
bool TryDisposeOf(UniqueFd& fd);
// The same, and waits until it is released, for what others may take then: a name. Another 8 ms at
// most, where its helper hangs; those that hang for other descriptors are not waited for.
void DisposeOfAndAwait(UniqueFd fd);

// From now on what is disposed of is closed in place: for a process that loses the right to make
// helpers, because it confines itself. It trusts its supervisor not to send what is slow.
void DisposeInPlaceFromNow();
bool DisposesInPlace();

struct DisposalState {
  int helpers = 0;         // that have not ended yet
  std::size_t parked = 0;  // descriptors that wait for a helper
};
// Collects helpers that have ended, and starts one for what is parked.
DisposalState TendDisposal();

// True while kMaxParkedDescriptors or more are parked.
bool DisposalIsFull();

}  // namespace parley

#endif  // PARLEY_OS_DISPOSAL_H_
