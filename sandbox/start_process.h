#ifndef PARLEY_SANDBOX_START_PROCESS_H_
#define PARLEY_SANDBOX_START_PROCESS_H_

// Starts the child of a ChildStart, in as many namespaces as were asked for and can be made.
//
// Trust: our own words all through; see namespace_holder.h.
// Threads: any. The calling thread waits until the child has become its program.

#include <sys/types.h>

#include "parley/os/unique_fd.h"
#include "parley/sandbox/child_start.h"
#include "parley/sandbox/second_wall.h"

namespace parley::internal {

struct StartedProcess {
  pid_t pid = -1;
  UniqueFd pidfd;   // not ok() where no child was made, or it has failed and was reaped
  UniqueFd holder;  // the pidfd of the namespaces' process 1; not ok() where there are none
  SecondWall wall;
  StartFailure failure = {};  // kNone: it runs
};

// `holder_socket` is the holder's end of the pair whose other end is among `start.descriptors`.
// `wall`, `parent_pidfd` and `failure` of `start` are set here.
StartedProcess StartProcess(ChildStart start, const NamespaceOptions& options,
                            UniqueFd holder_socket);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_START_PROCESS_H_
