// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_ROWS_H_
#define PARLEY_BENCH_ROWS_H_

// Everything that can be measured without another library.

#include <vector>

#include "parley/bench/row.h"

namespace parley::bench {

std::vector<Row> BuiltInRows();

}  // namespace parley::bench

#endif  // PARLEY_BENCH_ROWS_H_
