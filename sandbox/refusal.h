// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_REFUSAL_H_
#define PARLEY_SANDBOX_REFUSAL_H_

// How the parent learns which system call the filter refused: by the kernel's word.
//
// The filter answers an unlisted call with a notification (seccomp_unotify). The calling thread
// stays in the kernel; nothing of the worker's runs that could end it, hide it or answer it. A
// thread of the parent's reads the call's number, then kills the worker. The call is never made.
//   1. Spawn makes a pair of sockets and starts the parent's thread (RefusalWatch).
//   2. LockDown loads the filter, gets the notifications' descriptor, sends it as the one message
//      of its socket, and closes both. All of that is before any hostile input. Where the kernel
//      lets it send none, since its user has too many on their way, the thread takes it.
//   3. A refused call: the thread reads the number, stores it, and sends SIGKILL.
//   4. Worker::Wait sees the end, and the number that was stored before it.
//
// Trust: the number is the kernel's. The one message is the word of a worker that has not touched
// hostile input yet. It is read by the thread alone, and a descriptor that is no seccomp
// notification is a reason to kill; so a program that lies at that moment holds up that thread and
// no call of the parent's. After lock-down nothing can be sent: no profile has sendmsg.
// Threads: RefusalWatch has one of its own, which ends with the worker. Its methods: any.

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"

namespace parley::internal {

inline constexpr char kRefusalVariable[] = "PARLEY_REFUSAL_FD";

struct RefusalSockets {
  UniqueFd parent;
  UniqueFd worker;
};
absl::StatusOr<RefusalSockets> MakeRefusalSockets();

// What LockDown did that the kernel does not show to others (no file of /proc has it).
struct LockDownWord {
  uint32_t landlock_abi = 0;
  bool landlock_covers_all_threads = false;
  bool mdwe = false;
  bool operator==(const LockDownWord&) const = default;
};

// The worker's side: the word, and the notifications' descriptor, or -1 where there are none. The
// process is still dumpable. System calls: sendmsg, perhaps poll.
absl::Status SendLockDownWord(int socket, const LockDownWord& word, int notifications);

// What came over the socket; the parent's side. Never blocks.
struct LockDownMessage {
  std::optional<LockDownWord> word;
  UniqueFd notifications;  // whatever descriptor it is
  bool lost = false;       // a descriptor was sent and could not be received, or more than one
  int fetch = -1;          // the worker may send none: the number under which it has it
};
LockDownMessage TakeLockDownMessage(int parent_socket);

// The parent's side of one worker.
class RefusalWatch {
 public:
  // Starts the thread. `pidfd` is the worker's and is duplicated.
  static absl::StatusOr<RefusalWatch> Start(UniqueFd parent_socket, int pidfd);
  RefusalWatch(RefusalWatch&&) noexcept = default;
  RefusalWatch& operator=(RefusalWatch&&) noexcept = default;
  RefusalWatch(const RefusalWatch&) = delete;
  RefusalWatch& operator=(const RefusalWatch&) = delete;
  // Does not wait for the thread, which ends by itself once the worker has.
  ~RefusalWatch() = default;

  // The number of the call for which the worker was killed. After the worker's end it is final.
  std::optional<int> refused() const;
  // Absent until the worker has locked itself down.
  std::optional<LockDownWord> word() const;
  // Readable from then on. Owned here.
  int word_fd() const;

  struct Shared;

 private:
  explicit RefusalWatch(std::shared_ptr<const Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<const Shared> shared_;
};

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_REFUSAL_H_
