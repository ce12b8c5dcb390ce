#ifndef PARLEY_SANDBOX_REFUSAL_H_
#define PARLEY_SANDBOX_REFUSAL_H_

// How the parent learns which system call the filter refused.
//
// The filter answers an unlisted call with SIGSYS. The worker's handler sends the number, one
// message of 8 bytes, over a socket that Spawn made, and ends the process by a call that the filter
// kills for. The parent looks once, after the end.
//
// Trust: the parent believes nothing but the length: it reads at most one message, without blocking
// and without a control buffer (so no descriptor can arrive), takes only a number in range, and
// uses it for a sentence. A socket and not a pipe, whose reader or writer can be held (attack W7).
// Threads: the handler runs in whichever thread was refused; two at once send two messages, of
// which the first counts.

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

// The number of the refused call, if the worker sent one. Never blocks, whatever was sent.
std::optional<int> TakeRefusal(int parent_socket);

// The worker's handler for SIGSYS, for the whole process; `socket` -1 where nobody listens. The
// descriptor must stay open from here on.
absl::Status InstallRefusalHandler(int socket);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_REFUSAL_H_
