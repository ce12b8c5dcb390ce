// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_NOBODY_PROGRAM_H_
#define PARLEY_SANDBOX_NOBODY_PROGRAM_H_

// How root's worker becomes user 65534 between clone and exec (root_becomes_nobody of
// sandbox/second_wall.h).
//
// The kernel lets nobody dump a process whose user id changes, nor those that share its memory. The
// child runs in ours, and a copy of it takes 20 to 40 us for each MiB. So it first executes a
// program of one page, in a memory of its own:
//   1. The child has done all that needs no other user id, and has the descriptors of the worker,
//      after them ours that is polled for our end, and the program's. It keeps the capabilities to
//      change ids over exec.
//   2. The program changes the ids, drops what capabilities are left, ties its life to ours, sets
//      the limits, and executes the worker's program.
//   3. That it has done so, or has ended, the kernel says by a word that we share with it: the word
//      is in its list of robust futexes, which the kernel goes through as it leaves a memory. No
//      descriptor is waited for, which another process might hold open.
//
// Trust: our own words; nothing of the worker has run yet.
// Threads: any.

#include <linux/futex.h>

#include <cstddef>
#include <cstdint>

#include "parley/os/unique_fd.h"
#include "parley/sandbox/child_start.h"

namespace parley::internal {

class NobodyProgram {
 public:
  NobodyProgram() = default;
  NobodyProgram(const NobodyProgram&) = delete;
  NobodyProgram& operator=(const NobodyProgram&) = delete;
  ~NobodyProgram();

  // For `start`, whose descriptors are those of the worker. 0: see ok(); else what we lack.
  int Make(const ChildStart& start);
  // False also where no such program may be written or executed, or the worker's is a link of
  // procfs (/proc/self/exe): then the child begins as a copy.
  bool ok() const { return page_ != nullptr; }
  int file() const { return file_.get(); }

  // Once the child of `pidfd` has executed it: waits for step 3. kHolderProgram: it could not do
  // its part here, and the same with a copy will do.
  StartFailure Await(const UniqueFd& pidfd) const;

  struct Page;

 private:
  UniqueFd file_;
  Page* page_ = nullptr;
};

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_NOBODY_PROGRAM_H_
