// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PROGRAM_H_
#define PARLEY_BENCH_PROGRAM_H_

// The command line of the benchmark, around a set of rows.
//
// Threads: main's.

#include <vector>

#include "parley/bench/row.h"

namespace parley::bench {

// Measures and writes run.json into --out. `peers`: rows that need other libraries; whoever was
// built without them says MissingRow. The exit code; 130 if interrupted (what was measured until
// then is written).
int BenchMain(int argc, char** argv, std::vector<Row> peers);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PROGRAM_H_
