// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_SEAL_HELPER_H_
#define PARLEY_SEALING_SEAL_HELPER_H_

// A process that makes two system calls on one memfd and ends, or hangs in them without us.
//
//   this process --clone--> attendant --clone, exec--> helper
//                (shares our memory and descriptors,   (a program of 300 bytes: own memory, one
//                 is killable, ends with us)            descriptor, own session, directory "/")
//
// Whoever waits for an inode's lock can't be killed, so what the helper holds is held for as long
// as the peer likes. It holds the memfd, a page of code and a stack. Its cost does not depend on
// the memory of this process: none of it is copied, since the helper executes a file of its own (a
// memfd, made for each call). The attendant is there because a process that has executed a file
// raises SIGCHLD when it ends and shows up in wait(): it is the attendant that gets both. The
// attendant itself has no exit signal.
//
// Where no file of ours may be written or executed (a file size limit of 0, vm.memfd_noexec=2, a
// system call filter, another processor than x86-64 and arm64), the helper is a copy of this
// process with a descriptor table of its own, closed down to the memfd. Then the cost grows with
// the memory, and one that hangs keeps a copy.
//
// Trust: the file is shared with the peer. Threads: one at a time.
// System calls: clone, execveat, memfd_create, wait4, ppoll; in the helper close_range, ftruncate,
// fcntl.

#include <fcntl.h>
#include <sys/types.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/seals.h"

namespace parley::internal {

struct SealHelperMemory;  // shared with the attendant

class SealHelper {
 public:
  enum class Kind { kOwnProgram, kCopyOfThisProcess };
  static constexpr off_t kSizeAsItIs = -1;

  // Cuts `fd` to `size_bytes` (its size, so that pages beyond the end are freed; or kSizeAsItIs),
  // then adds `seals`. kUnimplemented where `kind` can't be had here; kResourceExhausted at a limit
  // of processes.
  static absl::StatusOr<SealHelper> Start(int fd, off_t size_bytes, SealSet seals, Kind kind);

  SealHelper(SealHelper&&) noexcept;
  SealHelper& operator=(SealHelper&&) = delete;
  // After Wait.
  ~SealHelper();

  // True once it has ended; false at the deadline, and then it was killed. Either way nothing of it
  // shares our memory or descriptors any more. Call it once.
  absl::StatusOr<bool> Wait(Deadline deadline);
  // After Wait said true: 0 or the errno that the helper ended with, if that is known.
  int error() const { return error_; }
  // After Wait said true: whether the program could not be executed.
  bool was_not_executed() const { return was_not_executed_; }
  // After Wait said false: the helper that hangs, to be asked whether it has ended.
  UniqueFd TakeLeftover() { return std::move(leftover_); }

 private:
  SealHelper();
  void EndAttendant();

  std::unique_ptr<SealHelperMemory> memory_;
  pid_t child_ = -1;  // the attendant, or the copy
  UniqueFd child_pidfd_;
  UniqueFd leftover_;
  int error_ = 0;
  bool was_not_executed_ = false;
};

}  // namespace parley::internal

#endif  // PARLEY_SEALING_SEAL_HELPER_H_
