// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_SEAL_CODE_H_
#define PARLEY_SANDBOX_SEAL_CODE_H_

// Code and what the loader has made read-only stay where and as they are (mseal): a worker that was
// taken over cannot unmap them, map something else there, or make them writable.
//
// It is one call for each part of each library, 140 for a small program. The seals are those of the
// memory's areas, so a clone of a template has them: a template seals, and its clones only ask
// whether anything was loaded since.
//
// Trust: no peer yet; this is for before there is one.
// Threads: one; the others load and unload nothing meanwhile.

namespace parley::internal {

// Whether all of it is sealed. False before Linux 6.10, and where something around us answers for
// the kernel.
bool SealCode();

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_SEAL_CODE_H_
