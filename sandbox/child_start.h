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

namespace parley::internal {

enum class StartStep : int {
  kNone,
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

struct ChildStart {
  const char* program;
  char* const* arguments;    // ends with a null pointer
  char* const* environment;  // the same
  int* descriptors;          // these become 0, 1, 2, 3, ...; overwritten
  int descriptor_count;
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
  StartFailure* failure;
};

// Becomes the program, or notes the failure and ends.
[[noreturn]] void StartAsChild(const ChildStart& start);

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_CHILD_START_H_
