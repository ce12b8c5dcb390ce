// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_LINK_WIRE_H_
#define PARLEY_SUPERVISE_LINK_WIRE_H_

// What a host and its worker tell each other over their channel besides the user's own messages:
// records whose tags are above kMaxWorkerTag.
//
//   host                                     worker
//                                            locks itself down
//     verifies that by the kernel's word
//     Begin                           ->     looks at its input for the first time
//                                     <-     Read           only of a streamed input
//     ReadAnswer + bytes              ->
//     Job + request                   ->     of a pool (supervise/pool.h), for each job
//                                     <-     JobDone + text
//   Numbered + message              ->     of a worker that is restarted (supervise/restart.h)
//                                     <-     Acknowledged   all up to that number
//                                     <-     Failed + text  the body gave up; the worker ends
//
// Trust: what comes from the worker is taken out of the channel once, and validated by the host
// (supervise/link_messages.h). The worker trusts its host.
// Threads: types.

#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"
#include "parley/ring/layout.h"

namespace parley {

// Tags of the user's own messages end here.
inline constexpr uint32_t kMaxWorkerTag = kMaxTag - 256;

namespace internal {

inline constexpr uint32_t kBeginTag = kMaxTag;
inline constexpr uint32_t kReadTag = kMaxTag - 1;
inline constexpr uint32_t kReadAnswerTag = kMaxTag - 2;
inline constexpr uint32_t kFailedTag = kMaxTag - 3;
inline constexpr uint32_t kJobTag = kMaxTag - 4;
inline constexpr uint32_t kJobDoneTag = kMaxTag - 5;
inline constexpr uint32_t kNumberedTag = kMaxTag - 6;
inline constexpr uint32_t kAcknowledgedTag = kMaxTag - 7;

// Where an input comes from.
inline constexpr uint32_t kNoInput = 0;
inline constexpr uint32_t kSealedInput = 1;    // a blob, mapped before the lock-down
inline constexpr uint32_t kStreamedInput = 2;  // read piece by piece from the host

struct BeginWire {
  uint64_t input_bytes;  // ~0: the host does not know
  uint32_t input_kind;
  uint32_t reserved;  // 0
};

struct ReadRequestWire {
  uint64_t offset;
  uint32_t size_bytes;  // 1 to what fits into one answer
  uint32_t reserved;    // 0
};

// Followed by `size_bytes` bytes; none at the end of the input.
struct ReadAnswerWire {
  uint64_t offset;
  uint32_t size_bytes;
  uint32_t failed;  // 1: the host could not read it
};

// Followed by the request.
struct JobWire {
  uint64_t number;
  uint64_t input_bytes;
  uint32_t input_kind;
  uint32_t request_bytes;
};

// Both are followed by `text_bytes` of text. `code`: an absl::StatusCode.
struct JobDoneWire {
  uint64_t number;  // of the job
  uint32_t code;
  uint32_t text_bytes;
};
struct FailedWire {
  uint32_t code;  // not 0
  uint32_t text_bytes;
};

// Followed by the message.
struct NumberedWire {
  uint64_t number;
  uint32_t epoch;
  uint32_t tag;
  uint32_t flags;  // kDuplicate: an earlier worker may have dealt with it
  uint32_t reserved;
};
inline constexpr uint32_t kDuplicate = 1;

struct AcknowledgedWire {
  uint64_t number;
  uint32_t epoch;
  uint32_t reserved;  // 0
};

inline constexpr std::size_t kMaxFailureTextBytes = 400;

static_assert(WireType<BeginWire> && sizeof(BeginWire) == 16);
static_assert(WireType<ReadRequestWire> && sizeof(ReadRequestWire) == 16);
static_assert(WireType<ReadAnswerWire> && sizeof(ReadAnswerWire) == 16);
static_assert(WireType<JobWire> && sizeof(JobWire) == 24);
static_assert(WireType<JobDoneWire> && sizeof(JobDoneWire) == 16);
static_assert(WireType<FailedWire> && sizeof(FailedWire) == 8);
static_assert(WireType<NumberedWire> && sizeof(NumberedWire) == 24);
static_assert(WireType<AcknowledgedWire> && sizeof(AcknowledgedWire) == 16);

// The descriptor of the sealed input in the worker.
inline constexpr char kInputVariable[] = "PARLEY_INPUT";

// How WorkerMain ends.
inline constexpr int kExitBodyFailed = 1;   // a Failed message says why
inline constexpr int kExitNotSetUp = 2;     // before the lock-down; stderr says why
inline constexpr int kExitOutOfMemory = 3;  // std::bad_alloc in the body
inline constexpr int kExitRefused = 4;      // the host refused it, and has the reason

}  // namespace internal
}  // namespace parley

#endif  // PARLEY_SUPERVISE_LINK_WIRE_H_
