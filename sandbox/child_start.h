// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_CHILD_START_H_
#define PARLEY_SANDBOX_CHILD_START_H_

// What the child does between clone and exec, spelled out beforehand as plain numbers and pointers:
// the code there may not take a lock or touch the heap, which other threads of ours may have held
// at the moment of the clone.
//
// Trust: everything here is our own word; the child is our own code until exec.
// Threads: runs in the child, which has one.

#include <sys/resource.h>
#include <sys/types.h>

#include <cstddef>

#include "parley/sandbox/namespace_holder.h"

namespace parley::internal {

enum class StartStep : int {
  kNone,
  kClone,
  kNamespaces,
  kNobody,         // other user ids; noted by the parent
  kHolderProgram,  // the same; in this process the next holder is a copy
  kDieWithParent,
  kSignals,
  kSession,
  kDescriptors,
  kLimits,
  kOrdinary,
  kPrivileges,
  kDirectory,
  kExec,
};

// Where the child leaves the reason of a failure: in a page shared with the parent.
struct StartFailure {
  StartStep step;
  int error;
};

// What a child in namespaces does besides.
struct WallStart {
  HolderEvents* events;
  int holder_pidfd;
  int namespaces;  // CLONE_NEW*
  // Those of them that the child enters by itself, as late as possible.
  int entered_late;
  bool becomes_nobody;
  int* proc_error;  // 0 once it has a /proc of its own
  // Of one that becomes nobody: which of its descriptors is NobodyProgram's file (nobody_program.h)
  // once they are placed; -1: it is a copy of us, and needs none.
  int nobody_program = -1;
};
inline constexpr unsigned kNobody = 65534;

struct ChildStart {
  const char* program;
  char* const* arguments;    // ends with a null pointer
  char* const* environment;  // the same
  int* descriptors;          // these become 0, 1, 2, 3, ...; overwritten
  int descriptor_count;
  int descriptor_bound;  // 0 where close_range works (os/descriptor_bound.h)
  struct Limit {
    int resource;
    rlimit value;
  };
  const Limit* limits;
  size_t limit_count;
  int nice;
  const char* directory;  // null: stays where it is
  pid_t parent;
  bool dies_with_parent;
  const WallStart* wall;  // null: no namespaces; then the child also makes itself ordinary
  int parent_pidfd;       // of the parent, where its number cannot be asked for; else -1
  // With `wall`: the limit of processes and threads in its user namespace; 0: none of its own.
  unsigned processes_within;
  StartFailure* failure;
  int report_socket =
      -1;  // of a clone: where it says that it has started, or failed (clone_wire.h)
};

// Becomes the program, or notes the failure and ends.
[[noreturn]] void StartAsChild(const ChildStart& start);
// The same for clone: `start` points to a pointer to one.
int StartOnStack(void* start);

// The same steps in a clone of a template, which goes on with the program that it has: the template
// has an ordinary priority and ordinary signals already. `failure` is its own; it ends with exit
// code kCloneFailed and the step. `wall->events` is not used: the parent says that the clone runs.
void PrepareClone(const ChildStart& start);
inline constexpr int kCloneFailed = 200;

// What the process in between does, which enters the namespaces and makes the child in them as our
// own: it shares our memory and descriptors, and we are suspended meanwhile.
struct EntranceStart {
  const ChildStart* child;
  // Of the stack on which the child runs in our memory until it becomes a program; null: it gets a
  // copy. A copy takes as long as we have memory, 20 us a MiB. One whose user id changes before
  // that needs it: the kernel would forbid this process, which shares its memory, to be dumped.
  void* child_stack_end;
  pid_t pid;  // the child's
  int pidfd;
};
// Returns when the child has become its program or has failed.
void EnterAndStart(EntranceStart& entrance);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_CHILD_START_H_
