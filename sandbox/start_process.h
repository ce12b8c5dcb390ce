// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_START_PROCESS_H_
#define PARLEY_SANDBOX_START_PROCESS_H_

// Starts the child of a ChildStart, in as many namespaces as were asked for and can be made.
//
// Trust: our own words all through; see namespace_holder.h.
// Threads: any. The calling thread waits until the child has become its program.

#include <sys/types.h>

#include <string>
#include <vector>

#include "parley/os/unique_fd.h"
#include "parley/sandbox/child_start.h"
#include "parley/sandbox/namespace_holder.h"
#include "parley/sandbox/second_wall.h"

namespace parley::internal {

struct StartedProcess {
  pid_t pid = -1;
  UniqueFd pidfd;   // not ok() where no child was made, or it has failed and was reaped
  UniqueFd holder;  // the pidfd of the namespaces' process 1; not ok() where there are none
  SecondWall wall;
  StartFailure failure = {};  // kNone: it runs
};

// Which namespaces are tried next, and as whom.
struct NamespaceAttempt {
  int namespaces = 0;  // CLONE_NEW*; 0: none
  bool nobody = false;
};

// Those to be tried in this order; the last one has none, unless they are required. `missing` gets
// why there are none to be tried. `failure`: what was required cannot be had.
std::vector<NamespaceAttempt> NamespaceAttempts(const NamespaceOptions& options,
                                                std::string* missing, StartFailure* failure);

// What both sides of a holder's clone see, and what the holder runs on until it has left our
// memory. Where it could not be reaped when this ends, that stays mapped.
class HolderPage {
 public:
  HolderPage();
  HolderPage(const HolderPage&) = delete;
  HolderPage& operator=(const HolderPage&) = delete;
  ~HolderPage();
  bool ok() const { return memory_ != nullptr; }
  HolderEvents& events() const;
  // Whether the holder executes a program; else it is a copy of this process.
  bool has_program() const { return program_.ok(); }

  struct Memory;

 private:
  friend StartFailure MakeHolder(const NamespaceAttempt& attempt, int holder_socket,
                                 int parent_pidfd, HolderPage& page, UniqueFd* pidfd);
  Memory* memory_ = nullptr;
  void* stack_ = nullptr;
  UniqueFd program_;
};

// Makes the process that holds the namespaces of `attempt`; `pidfd` gets its descriptor. They can
// be entered once `page.events().mapped` has happened. `parent_pidfd`: of this process; -1: it does
// not die with us. `page` is a new one.
StartFailure MakeHolder(const NamespaceAttempt& attempt, int holder_socket, int parent_pidfd,
                        HolderPage& page, UniqueFd* pidfd);
// Whether it happens, and has not failed, before the holder ends.
bool HolderSays(const UniqueFd& holder, Event& event);
// Once its worker runs: whether the holder has what it needs, and nothing of ours any more.
// kHolderProgram: it could not execute its program, and the same with another holder will do.
StartFailure AwaitHolderAlone(const UniqueFd& holder, const HolderPage& page);
// What we lack (descriptors, memory, processes): no reason to do without namespaces.
bool IsScarce(int error);
// What a worker in the namespaces of `attempt` has behind its filter.
SecondWall WallOf(const NamespaceAttempt& attempt, int proc_error);
// Of a child that is not wanted any more.
void KillAndReapChild(const UniqueFd& pidfd);

// `holder_socket` is the holder's end of the pair whose other end is among `start.descriptors`.
// `wall`, `parent_pidfd` and `failure` of `start` are set here.
StartedProcess StartProcess(ChildStart start, const NamespaceOptions& options,
                            UniqueFd holder_socket);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_START_PROCESS_H_
