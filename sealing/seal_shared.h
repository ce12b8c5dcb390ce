#ifndef PARLEY_SEALING_SEAL_SHARED_H_
#define PARLEY_SEALING_SEAL_SHARED_H_

// Adds seals to a memfd whose descriptor the peer holds as well, by a deadline.
//
// Trust: F_ADD_SEALS waits for the inode's lock, and the peer can hold that lock for ever (how:
// verify.h). A thread that waits for it can't be killed and keeps its whole process from ending.
// So the call is made by a helper process: a plain copy of this one that makes that one system call
// and exits. At the deadline it is killed and left behind. It shares our descriptor table instead
// of copying it, so it keeps nothing open; a stuck one does keep a copy of our private memory, one
// per such peer, until the peer lets go. Threads: any. The helper raises no SIGCHLD and is
// invisible to wait and waitpid(-1).

#include "absl/status/status.h"
#include "parley/os/deadline.h"
#include "parley/sealing/seals.h"

namespace parley {

// OK once `seals` are on. Pages that the file has beyond its end are freed before that.
// kDeadlineExceeded if the peer held them off; otherwise as AddSeals.
absl::Status AddSealsToShared(int fd, SealSet seals, Deadline deadline);

}  // namespace parley

#endif  // PARLEY_SEALING_SEAL_SHARED_H_
