// SPDX-License-Identifier: Apache-2.0

// The benchmark where no other library is at hand; //bench/competitors:bench has them all.

#include <vector>

#include "parley/bench/program.h"

int main(int argc, char** argv) {
  using parley::bench::MissingRow;
  using parley::bench::Waiting;
  constexpr char kWhy[] = "built without other libraries: //bench/competitors:bench has them";
  std::vector<parley::bench::Row> peers;
  for (const char* name : {"ZeroMQ", "nng", "boost spsc_queue", "iceoryx"}) {
    peers.push_back(MissingRow(name, "peer", Waiting::kSpin, kWhy));
  }
  return parley::bench::BenchMain(argc, argv, std::move(peers));
}
