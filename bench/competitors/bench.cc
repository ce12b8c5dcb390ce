// SPDX-License-Identifier: Apache-2.0

// The whole benchmark: what `./dev bench` runs.

#include "parley/bench/competitors/rows.h"
#include "parley/bench/program.h"

int main(int argc, char** argv) {
  return parley::bench::BenchMain(argc, argv, parley::bench::PeerRows());
}
