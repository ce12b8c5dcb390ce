// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_SEND_H_
#define PARLEY_CLI_SEND_H_

// The verbs `send` and `recv` of the program parley (arguments.h has their usage).
//
// Trust: each end judges the other's messages; a sender listens to its own user's receivers.
// Threads: one at a time.
//
//   return RunSend(options);

#include "parley/cli/arguments.h"
#include "parley/cli/endpoints.h"

namespace parley::cli {

ExitCode RunSend(const StreamOptions& options);
ExitCode RunRecv(const StreamOptions& options);

}  // namespace parley::cli

#endif  // PARLEY_CLI_SEND_H_
