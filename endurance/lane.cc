// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/lane.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <utility>

#include "parley/endurance/shared.h"
#include "parley/os/check.h"
#include "parley/villain/process.h"

namespace parley::endurance {

// A Row without pointers, in the page that a lane shares with the program.
struct Sheet {
  struct Number {
    std::array<char, 64> name;
    int64_t value;
  };
  std::atomic<int64_t> done;
  std::atomic<int64_t> total;
  std::atomic<uint32_t> complete;
  Verdict verdict;
  std::array<char, 400> why;
  int64_t count;
  int survivors;
  int survivors_of;
  villain::Footprint before;
  villain::Footprint after;
  int64_t max_call_ns;
  int64_t max_late_ns;
  int64_t served;
  int64_t served_of;
  int64_t elapsed_ms;
  std::array<Number, 32> figures;
  std::size_t figure_count;
};

namespace {

// A lane that does nothing for so long is stuck. Longer than any deadline in it.
constexpr int64_t kStuckNs = int64_t{150} * 1'000'000'000;

template <std::size_t kSize>
void Put(std::array<char, kSize>& to, const std::string& text) {
  const std::size_t size = std::min(text.size(), kSize - 1);
  std::memcpy(to.data(), text.data(), size);
  to[size] = '\0';
}

// True if nothing of this process's children still runs; those that have ended are reaped.
bool OnlyDeadChildren(Deadline deadline) {
  while (true) {
    pid_t reaped = 0;
    do {
      reaped = ::waitpid(-1, nullptr, WNOHANG | __WALL);
    } while (reaped > 0);
    if (reaped < 0) return true;
    if (deadline.Expired()) return false;
    ::usleep(1000);
  }
}

struct Running {
  std::size_t index;
  pid_t pid;
  Sheet* sheet;
  int64_t last_done;
  int64_t last_moved_ns;
};

Row EmptyRow(const LaneSpec& spec) {
  Row row;
  row.part = spec.part;
  row.lane = spec.name;
  row.unit = spec.unit;
  return row;
}

[[noreturn]] void RunLane(const LaneSpec& spec, const Options& options, std::size_t index,
                          Sheet* sheet) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::prctl(PR_SET_TIMERSLACK, 1);
  // The program ends its lanes, whoever typed Ctrl-C to the whole group.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGTERM, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  const int64_t began_ns = MonotonicNowNs();
  Options own = options;
  own.tag += "-" + std::to_string(index);
  // Before there is anything that it could inherit.
  auto control = std::make_unique<villain::LatenessControl>();
  Lane lane(own, options.seed * 1'000'003 + index, EmptyRow(spec), sheet, control.get());
  spec.body(lane);
  control.reset();
  // All that the lane started has been ended and reaped by now. What is left are the helpers of
  // dead peers (sealing/seal_shared.h), and they end by themselves.
  if (!OnlyDeadChildren(Deadline::After(absl::Seconds(3)))) {
    lane.Fail("a process was left over");
    static_cast<void>(villain::ReapEverything(Deadline::After(absl::Seconds(5))));
  }
  lane.row().elapsed_ms = (MonotonicNowNs() - began_ns) / 1'000'000;
  lane.Publish();
  ::_exit(0);
}

Running StartLane(const LaneSpec& spec, const Options& options, std::size_t index) {
  auto* sheet = NewShared<Sheet>();
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  PARLEY_CHECK(pid >= 0, "fork");
  if (pid == 0) RunLane(spec, options, index, sheet);
  return {index, pid, sheet, -1, MonotonicNowNs()};
}

Row Collect(const LaneSpec& spec, const Sheet& sheet) {
  Row row = EmptyRow(spec);
  row.count = sheet.count;
  row.verdict = sheet.verdict;
  row.why = sheet.why.data();
  row.survivors = sheet.survivors;
  row.survivors_of = sheet.survivors_of;
  row.before = sheet.before;
  row.after = sheet.after;
  row.max_call_ns = sheet.max_call_ns;
  row.max_late_ns = sheet.max_late_ns;
  row.served = sheet.served;
  row.served_of = sheet.served_of;
  row.elapsed_ms = sheet.elapsed_ms;
  for (std::size_t i = 0; i < sheet.figure_count; ++i) {
    row.figures.emplace_back(sheet.figures[i].name.data(), sheet.figures[i].value);
  }
  return row;
}

}  // namespace

Lane::Lane(const Options& options, uint64_t seed, Row row, Sheet* sheet,
           const villain::LatenessControl* control)
    : options_(options), random_(seed), row_(std::move(row)), sheet_(sheet), control_(control) {
  row_.verdict = Verdict::kPass;
}

std::string Lane::AbstractName() const { return "@parley-endure-" + options_.tag; }
std::string Lane::SocketPath() const { return options_.folder + "/" + options_.tag + ".sock"; }

void Lane::Expect(int64_t total) { sheet_->total.store(total); }
void Lane::Progress(int64_t done) { sheet_->done.store(done); }

void Lane::Fail(const std::string& why) {
  if (failed_) return;
  failed_ = true;
  row_.verdict = Verdict::kFail;
  row_.why = why;
}

void Lane::Skip(const std::string& why) {
  if (failed_) return;
  row_.verdict = Verdict::kSkip;
  row_.why = why;
}

void Lane::Publish() {
  Sheet& s = *sheet_;
  s.count = row_.count;
  s.verdict = row_.verdict;
  Put(s.why, row_.why);
  s.survivors = row_.survivors;
  s.survivors_of = row_.survivors_of;
  s.before = row_.before;
  s.after = row_.after;
  s.max_call_ns = row_.max_call_ns;
  s.max_late_ns = row_.max_late_ns;
  s.served = row_.served;
  s.served_of = row_.served_of;
  s.elapsed_ms = row_.elapsed_ms;
  s.figure_count = std::min(row_.figures.size(), s.figures.size());
  for (std::size_t i = 0; i < s.figure_count; ++i) {
    Put(s.figures[i].name, row_.figures[i].first);
    s.figures[i].value = row_.figures[i].second;
  }
  s.complete.store(1);
}

std::vector<Row> RunLanes(const std::vector<LaneSpec>& lanes, const Options& options, int jobs,
                          const RunCallbacks& callbacks) {
  // What a lane leaves behind becomes a child of this process, and is found.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::map<std::size_t, Row> rows;
  std::list<Running> running;
  std::size_t next = 0;
  bool interrupted = false;
  while (!interrupted && (next < lanes.size() || !running.empty())) {
    const bool one_is_alone = !running.empty() && lanes[running.front().index].alone;
    const bool room = running.size() < static_cast<std::size_t>(jobs) && !one_is_alone;
    if (next < lanes.size() && room && (running.empty() || !lanes[next].alone)) {
      running.push_back(StartLane(lanes[next], options, next));
      ++next;
      continue;
    }
    std::vector<LaneProgress> progress;
    for (auto it = running.begin(); it != running.end();) {
      const int64_t done = it->sheet->done.load();
      const int64_t now_ns = MonotonicNowNs();
      if (done != it->last_done) {
        it->last_done = done;
        it->last_moved_ns = now_ns;
      }
      if (now_ns - it->last_moved_ns > kStuckNs) ::kill(it->pid, SIGKILL);
      if (::waitpid(it->pid, nullptr, WNOHANG) != it->pid) {
        progress.push_back({&lanes[it->index], done, it->sheet->total.load()});
        ++it;
        continue;
      }
      Row row = Collect(lanes[it->index], *it->sheet);
      if (it->sheet->complete.load() == 0) {
        row.verdict = Verdict::kFail;
        row.why = "the lane ended without a verdict, or was stuck";
      }
      ::munmap(it->sheet, sizeof(Sheet));
      if (callbacks.on_row) callbacks.on_row(row);
      rows[it->index] = std::move(row);
      it = running.erase(it);
    }
    if (callbacks.on_progress) callbacks.on_progress(progress, rows.size());
    if (callbacks.interrupted) interrupted = callbacks.interrupted();
    if (!running.empty()) ::usleep(20'000);
  }
  for (const Running& r : running) ::kill(r.pid, SIGKILL);
  const bool all_gone = villain::ReapEverything(Deadline::After(absl::Seconds(20)));
  std::vector<Row> in_order;
  for (auto& [index, row] : rows) in_order.push_back(std::move(row));
  if (!all_gone && !in_order.empty()) {
    in_order.back().verdict = Verdict::kFail;
    in_order.back().why = "a process could not be killed";
  }
  return in_order;
}

}  // namespace parley::endurance
