// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/empty_root.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/os/poll.h"

namespace parley::internal {
namespace {

// The kernel waits for its readers; milliseconds on a loaded machine.
constexpr absl::Duration kPatience = absl::Seconds(5);

}  // namespace

int AskForEmptyRoot(int holder_socket) {
  const char order = 'r';
  return ::send(holder_socket, &order, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : errno;
}

int AwaitEmptyRoot(int holder_socket) {
  pollfd entry = {holder_socket, POLLIN, 0};
  const absl::StatusOr<int> ready =
      PollUntil(absl::MakeSpan(&entry, 1), Deadline::After(kPatience));
  if (!ready.ok() || *ready == 0) return ETIMEDOUT;
  int error = 0;
  if (::recv(holder_socket, &error, sizeof(error), MSG_DONTWAIT) != sizeof(error)) return EPIPE;
  if (error != 0) return error;
  // It may have been elsewhere than in the old root's directory, which has no way to the new one.
  return ::chdir("/") == 0 ? 0 : errno;
}

}  // namespace parley::internal
