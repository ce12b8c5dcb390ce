// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_LANE_H_
#define PARLEY_ENDURANCE_LANE_H_

// A lane is one kind of hardship with one set of survivors, run by a process of its own. Whatever
// happens in it, its processes die with it, and what it found reaches the program as a Row.
//
// Threads: one; the process that runs lanes has one thread.
//
//   RunLanes({{"stops", "socket", "stops", [](Lane& lane) { ... }}}, options, 2, {});

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "parley/endurance/options.h"
#include "parley/endurance/row.h"
#include "parley/os/deadline.h"
#include "parley/villain/lateness.h"

namespace parley::endurance {

struct Sheet;

class Lane {
 public:
  // `control` measures how late the machine itself is, as long as the lane lives.
  Lane(const Options& options, uint64_t seed, Row row, Sheet* sheet,
       const villain::LatenessControl* control);

  // A call that outlived its deadline by more has to be explained.
  int64_t max_lateness_ns() const { return control_->max_ns() + villain::kSmallLatenessNs; }
  int64_t control_late_ns() const { return control_->max_ns(); }

  const Options& options() const { return options_; }
  std::mt19937_64& random() { return random_; }
  // From zero to `most`, both included.
  int64_t Random(int64_t most) {
    return static_cast<int64_t>(random_() % (static_cast<uint64_t>(most) + 1));
  }
  // A name for a socket; unique on the machine.
  std::string AbstractName() const;
  std::string SocketPath() const;

  // What there is to do, in whatever is shown as progress.
  void Expect(int64_t total);
  void Progress(int64_t done);

  Row& row() { return row_; }
  void Figure(const std::string& name, int64_t value) { row_.figures.emplace_back(name, value); }
  // The first failure is the one that is told.
  void Fail(const std::string& why);
  bool failed() const { return failed_; }
  void Skip(const std::string& why);
  // Leaves the row to the program.
  void Publish();

 private:
  const Options& options_;
  std::mt19937_64 random_;
  Row row_;
  Sheet* const sheet_;
  const villain::LatenessControl* const control_;
  bool failed_ = false;
};

struct LaneSpec {
  std::string part;
  std::string name;
  std::string unit;
  std::function<void(Lane&)> body;
  // Whether it wants the machine for itself.
  bool alone = false;
};

// How far a lane is.
struct LaneProgress {
  const LaneSpec* lane;
  int64_t done;
  int64_t total;
};

struct RunCallbacks {
  std::function<void(const std::vector<LaneProgress>& running, std::size_t finished)> on_progress;
  std::function<void(const Row&)> on_row;
  std::function<bool()> interrupted;
};

// Runs them, `jobs` at a time; a row for each, in their order. After an interruption the rows of
// what was finished. No process is left in either case, or the row says so.
std::vector<Row> RunLanes(const std::vector<LaneSpec>& lanes, const Options& options, int jobs,
                          const RunCallbacks& callbacks);

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_LANE_H_
