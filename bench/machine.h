// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_MACHINE_H_
#define PARLEY_BENCH_MACHINE_H_

// On what a run was measured.

#include <string>
#include <utility>
#include <vector>

namespace parley::bench {

// Name and value, in the order in which a person reads them.
std::vector<std::pair<std::string, std::string>> DescribeMachine();

}  // namespace parley::bench

#endif  // PARLEY_BENCH_MACHINE_H_
