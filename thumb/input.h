// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_INPUT_H_
#define PARLEY_THUMB_INPUT_H_

// A file as the sealed input of a worker. Nothing looks at the bytes here.
//
// Trust: the file's owner may be hostile: it can be a pipe that never ends or never begins, a
// device, or grow while it is read. Time and memory are bounded by the arguments.
// Threads: any.
//
//   auto blob = ReadInput("film.mp4", max_bytes, Deadline::After(absl::Seconds(10)), stop);

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "parley/os/deadline.h"
#include "parley/sealing/sealed_blob.h"

namespace parley::thumb {

// `path`: "-" is standard input. `stop` is asked between waits; kCancelled when it says so.
// kDeadlineExceeded: it did not end in time. kResourceExhausted: larger than `max_bytes`.
absl::StatusOr<SealedBlob> ReadInput(const std::string& path, uint64_t max_bytes, Deadline deadline,
                                     const std::function<bool()>& stop);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_INPUT_H_
