// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_LIMITS_H_
#define PARLEY_BENCH_TRANSPORTS_LIMITS_H_

// What nothing can beat: the bare exchange of two cache lines, memcpy, and writing and reading the
// payload in one process.

#include <vector>

#include "parley/bench/row.h"

namespace parley::bench {

std::vector<Row> LimitRows();

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_LIMITS_H_
