// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_ROW_H_
#define PARLEY_BENCH_ROW_H_

// One line of the results: a transport in one of its modes.
//
// Threads: values.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/arena.h"
#include "parley/bench/cell.h"
#include "parley/bench/side.h"

namespace parley::bench {

// What runs in each of the two processes; it owns the transport.
using Body = std::function<absl::Status(Side)>;

struct Row {
  std::string name;    // unique; what a user would recognise
  std::string family;  // "parley", "reference", "kernel", "peer" or "limit"
  Waiting waiting = Waiting::kSpin;
  std::string note;  // what somebody who compares should know; may be empty
  bool one_way = true;
  bool round_trip = true;
  bool solo = false;  // one process does all of it; the other one idles
  // Why this transport cannot have such a cell, such as a message longer than it allows. Empty: it
  // can.
  std::function<std::string(const Cell&)> refuses;
  // Before the fork. Not called for a row that is missing.
  std::function<absl::StatusOr<Body>(const Cell&, const Plan&, Arena&)> prepare;
  // Why there is nothing to measure on this machine or in this build. Empty: there is.
  std::string missing;
};

// `create(cell)` makes the transport, an absl::StatusOr<std::unique_ptr<T>>.
template <typename Create>
Row MakeRow(std::string name, std::string family, Waiting waiting, const Create& create) {
  Row row;
  row.name = std::move(name);
  row.family = std::move(family);
  row.waiting = waiting;
  row.prepare = [create](const Cell& cell, const Plan& plan, Arena& arena) -> absl::StatusOr<Body> {
    auto made = create(cell);
    if (!made.ok()) return made.status();
    using Owner = std::remove_cvref_t<decltype(*made)>;
    auto transport = std::make_shared<Owner>(*std::move(made));
    return Body([transport, cell, plan, &arena](Side side) {
      return RunSide(**transport, side, cell, plan, arena);
    });
  };
  return row;
}

inline Row MissingRow(std::string name, std::string family, Waiting waiting, std::string why) {
  Row row;
  row.name = std::move(name);
  row.family = std::move(family);
  row.waiting = waiting;
  row.missing = std::move(why);
  return row;
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_ROW_H_
