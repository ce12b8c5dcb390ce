// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_VERIFY_H_
#define PARLEY_SEALING_VERIFY_H_

// Everything that is asked of a foreign descriptor before and after its memory is mapped.
//
// Trust: the descriptor may be anything and its owner may race with us. The order of the questions
// is the defence; each one is safe because of the answers before it:
//   1. F_GET_SEALS: turns away all that is no memfd, and never hangs. With the required seals on,
//      the answers below can't change any more (the last one: if a write seal is among them).
//   2. fstatfs says tmpfs: a huge-page memfd can lack pages in spite of all seals, and a missing
//      one is a SIGBUS.
//   3. fstat: a regular file of exactly the announced size, within our limit.
//   4. fstat: exactly as many pages are allocated as the size takes. Missing ones would be
//      allocated at the reader's expense, and could fail to be. More than those lie beyond the end,
//      where they could make up for missing ones.
// The last thing is to bring in all pages (map, populate) and to count once more. This order is the
// rule for every use: seal, count, populate, count. A page that was brought in before the seals
// were on can be taken out again, and a count from before them says nothing.
// What is *not* asked is as important. lseek(SEEK_HOLE), F_ADD_SEALS, ftruncate and fallocate wait
// for the inode's lock, uninterruptibly, and another holder of the descriptor keeps that lock for
// as long as it likes: it calls pwrite with a source page that its own userfaultfd or FUSE file
// never delivers (seen on 6.18; SIGKILL doesn't help the victim). So none of them is ever applied
// to a descriptor that the peer holds, too; none of the calls above takes the lock.
// Threads: any.
//
//   auto facts = VerifyMemfd(fd, announced_bytes, limit_bytes, kRegionSeals);
//   if (!facts.ok()) return facts.status();
//   ... map it with all its pages ...
//   if (absl::Status status = VerifyNothingAllocatedSince(fd, *facts); !status.ok()) return status;

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/seals.h"

namespace parley {

struct MemfdFacts {
  uint64_t size_bytes = 0;
  uint64_t allocated_bytes = 0;
  FileId identity;
};

// The checks above, for a file whose size was announced. Errors: kInvalidArgument (not a memfd,
// seals missing, huge pages, wrong size, pages missing), kResourceExhausted (beyond `limit_bytes`).
absl::StatusOr<MemfdFacts> VerifyMemfd(int fd, uint64_t expected_size_bytes, uint64_t limit_bytes,
                                       SealSet required_seals);

// The same, where any size up to `limit_bytes` is fine.
absl::StatusOr<MemfdFacts> VerifyMemfdOfAnySize(int fd, uint64_t limit_bytes,
                                                SealSet required_seals);

// OK if mapping the pages of a write-sealed memfd allocated none of them. It completes check 4: a
// peer can hide holes from a count by allocating as many pages beyond the end before it seals the
// size. Filling those holes changes the count, and this refuses the file. What stays possible: the
// peer frees its pages beyond the end (ftruncate to the same size is allowed by all seals) in the
// very moment in which the holes are filled. Then all pages exist, as they must, but some of them
// are charged to the reader: at most the size that it agreed to. seal_shared.h frees them itself.
absl::Status VerifyNothingAllocatedSince(int fd, const MemfdFacts& facts);

}  // namespace parley

#endif  // PARLEY_SEALING_VERIFY_H_
