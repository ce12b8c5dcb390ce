// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_NAMESPACE_HOLDER_H_
#define PARLEY_SANDBOX_NAMESPACE_HOLDER_H_

// The process 1 of a worker's namespaces (sandbox/second_wall.h).
//
// Its life, side by side with the start of the worker:
//   1. Made by clone with the namespaces but for the network's, in the parent's memory. The worker
//      enters them by its pidfd, as process 2.
//   2. Ends with the parent's thread, as the worker does. Writes the user id maps, or waits for the
//      parent to do so where that takes the parent's privilege. Makes a network namespace, which
//      takes as long as all else together: meanwhile the worker is made, and enters it last.
//   3. Prepares the empty root: a tmpfs of one directory, mounted nowhere.
//   4. Waits for process 2, opens its pidfd, closes every other descriptor, and executes a program
//      of two pages (HolderProgram): so it has left the parent's memory, which the kernel says by a
//      word there (CLONE_CHILD_CLEARTID). The parent's Spawn returns no earlier.
//   5. Waits for the worker's end or for one message. At the message (LockDown sends it) it makes
//      the empty root the root of all in the namespace by pivot_root, and answers. At the end it
//      ends, which is the end of everything that the worker made.
//
// Why not the worker as process 1: signals that it sends itself would be ignored (abort), and it
// would have to reap. Why not at exec: the dynamic loader and set-up need files. Why not in the
// worker: it would keep CAP_SYS_ADMIN of its user namespace until lock-down, in each thread.
//
// Where no file of ours may be executed (vm.memfd_noexec=2, a filter), it begins as a copy of the
// parent, which costs 20 to 40 us for each MiB, and unmaps that in step 4.
//
// Trust: the worker can make it end (and itself with it), and can send it messages, of which it
// reads one of one byte. It holds capabilities in the worker's user namespace; the worker has none,
// and cannot trace it (another memory's owner, not dumpable).
// Threads: plain code (sandbox/plain_code.h). It runs beside the thread that made it, in its memory
// and with its thread-local storage: no call of libc, no errno.

#include <cstddef>
#include <cstdint>

#include "parley/os/unique_fd.h"

namespace parley::internal {

inline constexpr char kHolderVariable[] = "PARLEY_HOLDER_FD";

// A word in memory that the parent, the holder and the worker share, with a futex. Set once.
struct Event {
  volatile uint32_t value;  // 0: not yet, kHappened, kFailed
};
inline constexpr uint32_t kHappened = 1;
inline constexpr uint32_t kFailed = 2;

void Announce(Event& event, uint32_t value);
// What it became; 0 if it is nothing yet after `milliseconds`.
uint32_t Await(Event& event, int milliseconds);
uint32_t AwaitChange(Event& event, uint32_t from, int milliseconds);

inline constexpr int kHolderNotReady = -1;

struct HolderEvents {
  Event mapped;     // the user id maps are written
  Event networked;  // its network namespace is there, or failed with:
  volatile int network_error;
  Event walled;  // in them no further user namespace can be made
  Event runs;    // the worker is process 2
  Event held;    // a copy has closed our descriptors, and needs nothing more of us
  // kHappened while it runs in our memory; cleared by the kernel when it has left, or ended.
  Event shares_memory;
  volatile int execution_error;  // why it could not execute its program; kHolderNotReady before it
};

struct HolderStart {
  HolderEvents* events;
  int socket;
  int parent_pidfd;      // of this process; -1: does not die with it
  int program;           // HolderProgram's file; -1: it is a copy
  int descriptor_bound;  // 0 where close_range works (os/descriptor_bound.h)
  bool mounts;           // a mount namespace is among them
  bool network;          // it makes a network namespace
  bool small_pages;      // of 4 KiB: what the holder's unmapping is written for
  // Whether the holder writes the maps; else the parent does.
  bool writes_maps;
  const char* user_map;
  size_t user_map_bytes;
  const char* group_map;
  size_t group_map_bytes;
};

[[noreturn]] void HoldNamespaces(const HolderStart& start);

// A memfd with the program that a holder becomes. Not ok() with `error` 0: none may be written or
// executed here.
UniqueFd HolderProgram(int* error);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_NAMESPACE_HOLDER_H_
