// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_SEALS_H_
#define PARLEY_SEALING_SEALS_H_

// Seals: promises about a memfd that the kernel keeps, whoever holds its descriptor. The three sets
// below are the only ones Parley uses; code names a set, never single seals.
//
// Trust: F_GET_SEALS is the first question put to a foreign descriptor. It is answered from the
// inode alone, so it never hangs, and everything that is no memfd (pipe, device, FUSE file, O_PATH,
// memfd_secret) says EINVAL or EBADF. Seals can only be added: those that VerifySeals required
// stay, and with F_SEAL_SEAL among them no others come.
// Threads: any.
//
//   if (absl::Status status = VerifySeals(fd, kRegionSeals); !status.ok()) return status;

#include <fcntl.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Older kernel headers lack some of these; the values are the kernel's ABI.
#ifndef F_ADD_SEALS
#define F_ADD_SEALS (1024 + 9)
#define F_GET_SEALS (1024 + 10)
#endif
#ifndef F_SEAL_SEAL
#define F_SEAL_SEAL 0x0001
#define F_SEAL_SHRINK 0x0002
#define F_SEAL_GROW 0x0004
#define F_SEAL_WRITE 0x0008
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

namespace parley {

// A mask of F_SEAL_* bits.
using SealSet = uint32_t;

// The size can't change; contents still can. The state of a region between its creation and the
// moment its writer has mapped it.
inline constexpr SealSet kShapeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

// The final state of a region: whoever maps it writable now goes on writing, nobody else ever can,
// and no page can be taken out of it (F_SEAL_FUTURE_WRITE is what forbids hole punching, too).
inline constexpr SealSet kRegionSeals =
    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

// The final state of a blob: nobody can change it, its maker included. F_SEAL_WRITE is the stronger
// sibling of FUTURE_WRITE: the kernel grants it only while no writable mapping and no pinned page
// exists, so FUTURE_WRITE would add nothing.
inline constexpr SealSet kBlobSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

// "SHRINK, GROW" and so on; "none" for an empty set.
std::string SealNames(SealSet seals);

// What is sealed. kInvalidArgument where `fd` is no memfd.
absl::StatusOr<SealSet> GetSeals(int fd);

// Adds seals to a file that nobody else holds yet (the call takes the inode's lock; see verify.h
// and seal_shared.h). Missing seals of a foreign file are a refusal and never added.
// Seals that are there already are no error. kFailedPrecondition where a writable mapping is in the
// way of F_SEAL_WRITE; kPermissionDenied where F_SEAL_SEAL came first.
absl::Status AddSeals(int fd, SealSet seals);

// OK if `required` is sealed and nothing else is, but for what changes nothing: F_SEAL_EXEC, which
// MFD_NOEXEC_SEAL brings, and F_SEAL_FUTURE_WRITE beside F_SEAL_WRITE. Otherwise kInvalidArgument
// with the names of the seals that are missing, or that nobody asked for: each of those forbids its
// holder something that it was promised (a draft could not be mapped, or not be sealed).
absl::Status VerifySeals(int fd, SealSet required);

}  // namespace parley

#endif  // PARLEY_SEALING_SEALS_H_
