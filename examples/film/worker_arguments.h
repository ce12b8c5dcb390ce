// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_WORKER_ARGUMENTS_H_
#define PARLEY_EXAMPLES_FILM_WORKER_ARGUMENTS_H_

// What the viewer tells the worker on its command line.
//
// Trust: the viewer's word; the worker has touched nothing hostile yet.
// Threads: values.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/examples/film/film_sender.h"
#include "parley/examples/film/hijack.h"

namespace parley::film {

struct WorkerArguments {
  FilmStart start;
  bool second_look = false;  // says what libav says, for --verify
  Hijack hijack = Hijack::kNone;
};

std::vector<std::string> Encode(const WorkerArguments& arguments);
// argv without argv[0].
absl::StatusOr<WorkerArguments> Decode(absl::Span<char* const> arguments);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_WORKER_ARGUMENTS_H_
