// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_COMPETITORS_ROWS_H_
#define PARLEY_BENCH_COMPETITORS_ROWS_H_

// What needs another library. A library that was not there when this was built, or a daemon that is
// not installed, is a row that says so.

#include <vector>

#include "parley/bench/row.h"

namespace parley::bench {

std::vector<Row> PeerRows();

}  // namespace parley::bench

#endif  // PARLEY_BENCH_COMPETITORS_ROWS_H_
