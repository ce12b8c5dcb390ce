// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_ORDINARY_H_
#define PARLEY_SANDBOX_ORDINARY_H_

// Takes from the calling process what it inherited and an ordinary one does not have: between clone
// and exec, so that a worker is no more important than its job, whatever its parent is.
//
// Reset: real-time scheduling (FIFO, RR, DEADLINE), a nice value below 0, an I/O priority above the
// default one, an oom_score_adj below 0, the timer slack (50 us), the execution domain with its
// flags (personality: no randomised addresses, readable pages executable), the session keyring (an
// empty one, where keyctl is allowed), the umask (077).
// Kept: what is less than ordinary (SCHED_BATCH, SCHED_IDLE, a nice value above 0, an idle I/O
// class, an oom_score_adj above 0); the CPUs and the NUMA policy, which are the caller's placement;
// cgroup, security labels, system call filters. Spawn deals with signals, limits, capabilities,
// descriptors, directory and environment; exec itself with timers, alternate stacks, KEEP_CAPS and
// whether the process can be dumped.
//
// Trust: our own code; nothing of the worker has run yet.
// Threads: plain code (sandbox/plain_code.h).

namespace parley::internal {

// 0, or the errno of the first step that failed. `nice` is added to our nice value, or to 0 if ours
// is lower. Nothing here needs a privilege, except for a result below our own nice value.
int MakeOrdinary(int nice);

// The same but for oom_score_adj, which is of all processes that share their memory with this one.
// Leaves errno alone, which a process beside it may use.
int MakeOrdinaryInSharedMemory(int nice);

// The rest, in a process that has its memory for itself: oom_score_adj, if MakeOrdinary could not.
int OrdinaryOomScore();

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_ORDINARY_H_
