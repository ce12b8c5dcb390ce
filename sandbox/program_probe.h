// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_PROGRAM_PROBE_H_
#define PARLEY_SANDBOX_PROGRAM_PROBE_H_

// Whether a process of ours may execute a file of ours that has no name: asked once, by a process
// that does nothing else, before anything depends on it. A holder that finds out by itself
// (sandbox/namespace_holder.h) has a worker beside it by then, which runs and has spoken to its
// host; a second one over the same sockets is not understood any more.
//
// Trust: our own code and words.
// Threads: any; the calling one waits for that process, which shares its memory.
//
//   if (program.ok() && !ProgramRunsHere(program)) program.Reset();

#include "parley/os/unique_fd.h"

namespace parley::internal {

// `program`: HolderProgram's file. False: a filter, a security module or the mount refuses, and
// will for this process's life. What passes (memory, processes) says nothing, and is asked again.
bool ProgramRunsHere(const UniqueFd& program);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_PROGRAM_PROBE_H_
