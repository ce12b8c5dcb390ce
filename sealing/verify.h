#ifndef PARLEY_SEALING_VERIFY_H_
#define PARLEY_SEALING_VERIFY_H_

// Everything that is asked of a foreign descriptor before its memory is mapped.
//
// Trust: the descriptor may be anything and its owner may race with us. The order of the questions
// is the defence; each one is safe because of the answers before it:
//   1. F_GET_SEALS: never hangs, and turns away all that is no memfd. With the required seals on,
//      the answers below can't change any more (of the contents: if a write seal is among them).
//   2. fstatfs says tmpfs: a huge-page memfd can lack pages in spite of all seals, and a missing
//      one is a SIGBUS.
//   3. fstat: a regular file of exactly the announced size, within our limit.
//   4. no holes: the reader, not the maker, would pay for each missing page.
// Threads: any.
//
//   auto facts = VerifyMemfd(fd, announced_bytes, limit_bytes, kRegionSeals);
//   if (!facts.ok()) return facts.status();

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/sealing/identity.h"
#include "parley/sealing/seals.h"

namespace parley {

struct MemfdFacts {
  uint64_t size_bytes = 0;
  MemfdIdentity identity;
};

// The checks above, for a file whose size was announced. Errors: kInvalidArgument (not a memfd,
// seals missing, huge pages, wrong size, holes), kResourceExhausted (beyond `limit_bytes`).
absl::StatusOr<MemfdFacts> VerifyMemfd(int fd, uint64_t expected_size_bytes, uint64_t limit_bytes,
                                       SealSet required_seals);

// The same, where any size up to `limit_bytes` is fine.
absl::StatusOr<MemfdFacts> VerifyMemfdOfAnySize(int fd, uint64_t limit_bytes,
                                                SealSet required_seals);

// OK if each page of a memfd exists (in memory or in swap). Final only when F_SEAL_WRITE or
// F_SEAL_FUTURE_WRITE is on, since holes can be punched until then. Moves the file offset, which
// all holders of the descriptor share: nothing in Parley uses the offset of a memfd, so a peer that
// moves it meanwhile changes nothing, and whoever reads by descriptor uses pread.
absl::Status VerifyNoHoles(int fd, uint64_t size_bytes);

}  // namespace parley

#endif  // PARLEY_SEALING_VERIFY_H_
