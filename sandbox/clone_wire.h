// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_CLONE_WIRE_H_
#define PARLEY_SANDBOX_CLONE_WIRE_H_

// What a host and its template say to each other over a socketpair of their own. Internal to
// sandbox/.
//
//   template -> host   one byte        warmed up, alone in its process, ready
//   host -> template   CloneOrder      with descriptors
//   between -> host    one byte        the process in between, where there are namespaces, runs
//   template -> host   CloneAnswer     the clone exists, or why not
//   clone -> host      CloneStarted    it has left the template's session, and is about to close
//   this                                    socket; before or after the answer
//
// The host learns each sender's pid from the kernel (SO_PASSCRED), so that it knows whom to reap
// even if the template is killed in the middle.
//
// Trust: both are programs of ours that have not touched hostile input: the template never does.
// The host takes no descriptor from it, and opens the clone's itself.
// Threads: types.

#include <array>
#include <cstddef>
#include <cstdint>

namespace parley::internal {

inline constexpr char kTemplateVariable[] = "PARLEY_TEMPLATE_FD";
inline constexpr std::size_t kMaxCloneDescriptors = 12;
inline constexpr std::size_t kMaxCloneLimits = 16;
inline constexpr std::size_t kMaxVariableBytes = 32;

struct CloneOrder {
  struct Limit {
    int32_t resource;
    uint32_t reserved;
    uint64_t soft;
    uint64_t hard;
  };
  int32_t namespaces;  // CLONE_NEW*; 0: none. Then there is no holder
  uint32_t becomes_nobody;
  uint32_t processes_within;
  uint32_t limit_count;
  // Of the descriptors that come along: first the holder's pidfd, if there is one, then those of
  // the clone from 2 on.
  uint32_t descriptor_count;
  uint32_t reserved;
  std::array<Limit, kMaxCloneLimits> limits;
  // The environment variable with the number of each of the clone's descriptors; "" for none.
  std::array<std::array<char, kMaxVariableBytes>, kMaxCloneDescriptors> variables;
};

struct CloneAnswer {
  int32_t pid;      // as the host sees it, for the template is in no pid namespace; -1: none
  int32_t between;  // a child of the host's that has ended and is to be reaped; -1: none
  int32_t step;     // StartStep of a failure
  int32_t error;
};

// Of another size than the answer, by which the two are told apart.
struct CloneStarted {
  int32_t step;  // StartStep of a failure
  int32_t error;
  int32_t proc_error;  // 0: it has a /proc of its own
};
static_assert(sizeof(CloneStarted) != sizeof(CloneAnswer));

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_CLONE_WIRE_H_
