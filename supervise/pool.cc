// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "parley/os/pidfd.h"
#include "parley/supervise/converse.h"
#include "parley/supervise/link_template.h"
#include "parley/supervise/worker_link_maker.h"

namespace parley {
namespace {

using JobOutcome = JobResult::Outcome;

// Starts in a row that fail before a job is given up.
constexpr int kMaxStarts = 3;
constexpr std::size_t kTimesKept = 1024;

std::chrono::steady_clock::time_point TimePoint(Deadline deadline) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline.monotonic_ns()));
}

absl::Duration Since(int64_t then_ns) { return absl::Nanoseconds(MonotonicNowNs() - then_ns); }

// The last so many, for percentiles.
class Times {
 public:
  void Add(absl::Duration time) { kept_[count_++ % kTimesKept] = time; }
  absl::Duration At(double part) const {
    const std::size_t size = std::min<std::size_t>(count_, kTimesKept);
    if (size == 0) return absl::ZeroDuration();
    std::vector<absl::Duration> sorted(kept_.begin(),
                                       kept_.begin() + static_cast<std::ptrdiff_t>(size));
    std::sort(sorted.begin(), sorted.end());
    return sorted[std::min(size - 1, static_cast<std::size_t>(part * static_cast<double>(size)))];
  }

 private:
  std::array<absl::Duration, kTimesKept> kept_ = {};
  std::size_t count_ = 0;
};

JobResult Ended(JobOutcome outcome, std::string what, absl::Status status = absl::OkStatus()) {
  JobResult result;
  result.outcome = outcome;
  result.what = std::move(what);
  result.status = std::move(status);
  return result;
}

}  // namespace

const char* ToString(JobResult::Outcome outcome) {
  switch (outcome) {
    case JobOutcome::kDone:
      return "done";
    case JobOutcome::kFailed:
      return "failed";
    case JobOutcome::kWorkerEnded:
      return "worker ended";
    case JobOutcome::kOutOfTime:
      return "out of time";
    case JobOutcome::kTooMuchOutput:
      return "too much output";
    case JobOutcome::kCancelled:
      return "cancelled";
    case JobOutcome::kRejected:
      return "rejected";
    case JobOutcome::kExpired:
      return "expired";
    case JobOutcome::kNotStarted:
      break;
  }
  return "not started";
}

namespace internal {

// All of it under the pool's mutex, except what only the job's thread uses.
struct PoolJobState {
  JobOptions options;
  JobLimits limits;
  uint64_t number = 0;
  int64_t submitted_ns = 0;
  std::weak_ptr<PoolState> pool;
  bool cancelled = false;
  bool queued = true;
  const WorkerLink* link = nullptr;  // while its worker runs, so that it can be interrupted
  std::optional<JobResult> result;
  // Of its own, so that it can be waited for when the pool is gone.
  std::mutex result_mutex;
  std::condition_variable has_result;
};

struct PoolState {
  PoolOptions options;
  mutable std::mutex mutex;
  std::condition_variable has_work;
  std::condition_variable has_room;
  std::deque<std::shared_ptr<PoolJobState>> queue;
  std::vector<std::shared_ptr<PoolJobState>> running;
  bool stopping = false;
  uint64_t next_number = 1;
  PoolStats stats;
  Times waited;
  Times started;

  // One thread at a time clones; it may make a new template.
  std::mutex template_mutex;
  std::optional<LinkTemplate> warm;
  std::atomic<bool> template_wanted{false};
  int template_failures = 0;  // in a row

  // A thread whose end would kill workers of others waits for them.
  int threads_done = 0;
  std::condition_variable all_done;
  std::vector<std::thread> threads;

  void Finish(const std::shared_ptr<PoolJobState>& job, JobResult result);
  void Run();
  void AwaitOthers();
};

}  // namespace internal

namespace {

using internal::PoolJobState;
using internal::PoolState;

// One thread's worker, with the jobs that it has had.
struct Seat {
  std::optional<WorkerLink> link;
  JobLimits limits;
  uint32_t jobs = 0;
  bool has_input = false;  // the present job's input lies in it
};

WorkerLinkOptions LinkOptions(const PoolOptions& pool, const PoolJobState& job) {
  WorkerLinkOptions options;
  options.program = pool.program;
  options.program.memory_bytes = job.limits.memory_bytes;
  options.program.limits.cpu_seconds = job.limits.cpu_seconds;
  options.program.resident_bytes = job.limits.resident_bytes;
  options.to_worker = pool.to_worker;
  options.from_worker = pool.from_worker;
  options.format = pool.format;
  options.wanted = pool.wanted;
  options.input = job.options.input.get();
  return options;
}

// From the template, as long as there is one; a new one where the old one has ended or is used up.
absl::StatusOr<StartedClone> StartClone(PoolState& pool, const PoolJobState& job,
                                        Deadline deadline) {
  const std::lock_guard<std::mutex> lock(pool.template_mutex);
  if (!pool.template_wanted) return absl::UnimplementedError("there is no template");
  if (pool.warm.has_value() && pool.warm->clones() >= pool.options.clones_per_template) {
    pool.warm.reset();
  }
  if (!pool.warm.has_value()) {
    absl::StatusOr<LinkTemplate> started = LinkTemplate::Start(pool.options.program, deadline);
    const std::lock_guard<std::mutex> stats_lock(pool.mutex);
    if (!started.ok()) {
      // A program that cannot be one is started by exec from now on.
      if (absl::IsUnimplemented(started.status()) || ++pool.template_failures >= kMaxStarts) {
        pool.template_wanted = false;
      }
      pool.stats.no_template = std::string(started.status().message());
      return started.status();
    }
    pool.template_failures = 0;
    ++pool.stats.templates;
    pool.warm = *std::move(started);
  }
  absl::StatusOr<StartedClone> clone =
      pool.warm->StartClone(LinkOptions(pool.options, job), deadline);
  // Whatever it was, the next one gets a template that is known to live.
  if (!clone.ok() && absl::IsUnavailable(clone.status())) pool.warm.reset();
  return clone;
}

// Others may clone during its handshake, which takes as long as the clone itself.
absl::StatusOr<WorkerLink> StartCloned(PoolState& pool, const PoolJobState& job,
                                       Deadline deadline) {
  absl::StatusOr<StartedClone> clone = StartClone(pool, job, deadline);
  if (!clone.ok()) return clone.status();
  absl::StatusOr<WorkerLink> link = std::move(*clone).Link(deadline);
  if (!link.ok() && absl::IsUnavailable(link.status())) {
    const std::lock_guard<std::mutex> lock(pool.template_mutex);
    pool.warm.reset();
  }
  return link;
}

absl::StatusOr<WorkerLink> StartWorker(PoolState& pool, const PoolJobState& job) {
  const Deadline deadline = Deadline::After(pool.options.start_time);
  absl::Status status;
  for (int i = 0; i < kMaxStarts && !deadline.Expired(); ++i) {
    bool cloned = true;
    absl::StatusOr<WorkerLink> link = StartCloned(pool, job, deadline);
    if (!link.ok() && !pool.template_wanted) {
      cloned = false;
      link = WorkerLink::Start(LinkOptions(pool.options, job), deadline);
    }
    const std::lock_guard<std::mutex> lock(pool.mutex);
    if (link.ok()) {
      ++(cloned ? pool.stats.cloned : pool.stats.spawned);
      if (!link->no_resident_limit().empty()) {
        pool.stats.no_resident_limit = link->no_resident_limit();
      }
      return link;
    }
    status = link.status();
    if (job.cancelled || absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status)) break;
  }
  return status;
}

// Whether the worker that sits there may have this job.
bool Fits(const Seat& seat, const PoolJobState& job) {
  if (!seat.link.has_value() || seat.limits != job.limits) return false;
  if (seat.jobs > 0) return true;
  // Started ahead. It may have been killed since, by the system for instance.
  const bool is_small =
      job.options.input == nullptr || job.options.input->size_bytes() <= kMaxInputBytesOfAhead;
  return is_small && !ProcessHasEnded(seat.link->worker().pidfd());
}

// One for a job that may come: without an input, with the pool's limits.
void StartAhead(PoolState& pool, Seat& seat) {
  PoolJobState none;
  none.limits = pool.options.limits;
  absl::StatusOr<WorkerLink> link = StartWorker(pool, none);
  if (!link.ok()) return;  // the job's own attempt says why
  seat.link.emplace(*std::move(link));
  seat.limits = none.limits;
  seat.jobs = 0;
}

// Its thread gets no signal of the process's.
std::thread QuietThread(const std::shared_ptr<PoolState>& state) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread([state] { state->Run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

absl::Status Check(const PoolOptions& options) {
  if (options.workers < 1 || options.workers > 256) {
    return absl::InvalidArgumentError(
        absl::StrCat("PoolOptions::workers is ", options.workers, "; allowed: 1 to 256"));
  }
  if (options.jobs_per_worker == 0 || options.clones_per_template == 0 || options.max_queued == 0) {
    return absl::InvalidArgumentError(
        "PoolOptions: jobs_per_worker, clones_per_template or max_queued is 0; allowed: 1 and "
        "more");
  }
  WorkerLinkOptions link;
  link.program = options.program;
  link.to_worker = options.to_worker;
  return internal::CheckLinkOptions(link);
}

}  // namespace

void internal::PoolState::Finish(const std::shared_ptr<PoolJobState>& job, JobResult result) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    ++stats.outcomes[result.outcome];
    if (result.end.has_value() && !result.done()) ++stats.ends[result.end->cause];
    job->link = nullptr;
    job->queued = false;
    running.erase(std::remove(running.begin(), running.end(), job), running.end());
  }
  // What the caller gave is given back; last, since it may ask for the result as it ends.
  JobOptions given;
  {
    const std::lock_guard<std::mutex> lock(job->result_mutex);
    job->result = std::move(result);
    given.input.swap(job->options.input);
    given.on_message.swap(job->options.on_message);
    given.pixels.swap(job->options.pixels);
  }
  job->has_result.notify_all();
}

void internal::PoolState::Run() {
  Seat seat;
  while (true) {
    std::shared_ptr<PoolJobState> job;
    bool is_idle = false;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      is_idle = options.start_ahead && !stopping && queue.empty() && !seat.link.has_value();
    }
    if (is_idle) StartAhead(*this, seat);
    {
      std::unique_lock<std::mutex> lock(mutex);
      has_work.wait(lock, [this] { return stopping || !queue.empty(); });
      if (stopping) break;
      job = queue.front();
      queue.pop_front();
      job->queued = false;
      running.push_back(job);
    }
    has_room.notify_one();
    const absl::Duration waited_for = Since(job->submitted_ns);
    JobResult result;
    absl::Duration started_in;
    const bool expired = job->options.begin_by.has_value() && job->options.begin_by->Expired();
    if (expired) {
      result = Ended(JobOutcome::kExpired, "it was not begun in time");
    } else {
      const bool is_there = Fits(seat, *job);
      const bool reused = is_there && seat.jobs > 0;
      seat.has_input = false;
      if (!is_there) {
        seat.link.reset();
        seat.jobs = 0;
        const int64_t before_ns = MonotonicNowNs();
        absl::StatusOr<WorkerLink> link = StartWorker(*this, *job);
        started_in = Since(before_ns);
        if (link.ok()) {
          seat.link.emplace(*std::move(link));
          seat.limits = job->limits;
          seat.has_input = job->options.input != nullptr;
        } else {
          result =
              Ended(JobOutcome::kNotStarted, std::string(link.status().message()), link.status());
        }
      }
      if (seat.link.has_value()) {
        bool cancelled = false;
        {
          const std::lock_guard<std::mutex> lock(mutex);
          cancelled = job->cancelled || stopping;
          job->link = &*seat.link;
          if (is_there) ++(reused ? stats.reused : stats.ahead);
          waited.Add(waited_for);
          if (!is_there) started.Add(started_in);
        }
        const int64_t before_ns = MonotonicNowNs();
        ++seat.jobs;
        result = cancelled ? Ended(JobOutcome::kCancelled, "cancelled")
                           : internal::Converse(*seat.link, job->number, job->options, job->limits,
                                                seat.has_input);
        result.ran = Since(before_ns);
        {
          // From here on nobody interrupts it.
          const std::lock_guard<std::mutex> lock(mutex);
          job->link = nullptr;
          WorkerLinkMaker::ForgetInterrupt(*seat.link);
        }
        const bool goes_on =
            (result.outcome == JobOutcome::kDone || result.outcome == JobOutcome::kFailed) &&
            seat.jobs < options.jobs_per_worker;
        if (!goes_on) {
          // One that ended by itself is asked how; everything else is over.
          result.end = result.outcome == JobOutcome::kWorkerEnded
                           ? seat.link->End(Deadline::After(absl::Milliseconds(200)))
                           : seat.link->Kill(result.done() || result.outcome == JobOutcome::kFailed
                                                 ? "its job is over"
                                                 : result.what);
          if (result.outcome == JobOutcome::kWorkerEnded) result.what = result.end->ToString();
          seat.link.reset();
        }
      }
    }
    result.waited = waited_for;
    result.started_in = started_in;
    Finish(job, std::move(result));
  }
  seat.link.reset();
  AwaitOthers();
}

void internal::PoolState::AwaitOthers() {
  std::unique_lock<std::mutex> lock(mutex);
  ++threads_done;
  all_done.notify_all();
  all_done.wait(lock, [this] { return threads_done == options.workers; });
}

const JobResult& PoolJob::Wait() const {
  static_cast<void>(Wait(Deadline::Never()));
  std::unique_lock<std::mutex> lock(state_->result_mutex);
  state_->has_result.wait(lock, [this] { return state_->result.has_value(); });
  return *state_->result;
}

absl::StatusOr<JobResult> PoolJob::Wait(Deadline deadline) const {
  const auto has_result_by = [this](Deadline until) {
    std::unique_lock<std::mutex> lock(state_->result_mutex);
    return state_->has_result.wait_until(lock, TimePoint(until),
                                         [this] { return state_->result.has_value(); });
  };
  const std::optional<Deadline>& begin_by = state_->options.begin_by;
  if (!has_result_by(begin_by.has_value() ? deadline.Or(*begin_by) : deadline)) {
    const std::shared_ptr<PoolState> pool = state_->pool.lock();
    bool expired = false;
    if (pool != nullptr && begin_by.has_value() && begin_by->Expired()) {
      const std::lock_guard<std::mutex> lock(pool->mutex);
      auto& queue = pool->queue;
      const auto found = std::find(queue.begin(), queue.end(), state_);
      expired = found != queue.end();
      if (expired) queue.erase(found);
    }
    if (expired) {
      pool->has_room.notify_one();
      pool->Finish(state_, Ended(JobOutcome::kExpired, "it was not begun in time"));
    }
    if (!has_result_by(deadline)) {
      return absl::DeadlineExceededError("the job has no result at the deadline");
    }
  }
  const std::lock_guard<std::mutex> lock(state_->result_mutex);
  return *state_->result;
}

void PoolJob::Cancel() const {
  const std::shared_ptr<PoolState> pool = state_->pool.lock();
  if (pool == nullptr) return;
  bool was_queued = false;
  {
    const std::lock_guard<std::mutex> lock(pool->mutex);
    state_->cancelled = true;
    if (state_->link != nullptr) state_->link->Interrupt();
    auto& queue = pool->queue;
    const auto found = std::find(queue.begin(), queue.end(), state_);
    was_queued = found != queue.end();
    if (was_queued) queue.erase(found);
  }
  if (was_queued) {
    pool->has_room.notify_one();
    pool->Finish(state_, Ended(JobOutcome::kCancelled, "cancelled"));
  }
}

Pool::Pool(Private, std::shared_ptr<PoolState> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<Pool>> Pool::Start(PoolOptions options) {
  if (absl::Status status = Check(options); !status.ok()) return status;
  auto state = std::make_shared<PoolState>();
  state->options = std::move(options);
  state->template_wanted = state->options.use_template;
  for (int i = 0; i < state->options.workers; ++i) state->threads.push_back(QuietThread(state));
  return std::make_unique<Pool>(Private(), std::move(state));
}

Pool::~Pool() {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stopping = true;
  }
  CancelAll();
  state_->has_work.notify_all();
  state_->has_room.notify_all();
  std::vector<std::thread> threads = std::move(state_->threads);
  const bool on_one_of_them = std::any_of(
      threads.begin(), threads.end(),
      [](const std::thread& thread) { return thread.get_id() == std::this_thread::get_id(); });
  // Ended by what one of its jobs calls or holds: the threads have the state, and wait for each
  // other.
  for (std::thread& thread : threads) on_one_of_them ? thread.detach() : thread.join();
  if (!on_one_of_them) state_->warm.reset();
}

absl::StatusOr<PoolJob> Pool::Submit(JobOptions job, Deadline deadline) {
  if (job.request.size() > kMaxRequestBytes) {
    return absl::InvalidArgumentError(absl::StrCat("JobOptions::request has ", job.request.size(),
                                                   " bytes; allowed: ", kMaxRequestBytes));
  }
  // The pool may end while this waits, or by the job that it queues.
  const std::shared_ptr<PoolState> pool = state_;
  auto state = std::make_shared<PoolJobState>();
  state->limits = job.limits.value_or(pool->options.limits);
  state->options = std::move(job);
  state->pool = pool;
  {
    std::unique_lock<std::mutex> lock(pool->mutex);
    const bool room = pool->has_room.wait_until(lock, TimePoint(deadline), [&] {
      return pool->stopping || pool->queue.size() < pool->options.max_queued;
    });
    if (pool->stopping) return absl::CancelledError("the pool ends");
    if (!room) return absl::ResourceExhaustedError("the pool's queue is full");
    state->number = pool->next_number++;
    state->submitted_ns = MonotonicNowNs();
    pool->queue.push_back(state);
    ++pool->stats.submitted;
  }
  pool->has_work.notify_one();
  return PoolJob(std::move(state));
}

void Pool::CancelAll() {
  std::vector<std::shared_ptr<PoolJobState>> jobs;
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    jobs.assign(state_->queue.begin(), state_->queue.end());
    jobs.insert(jobs.end(), state_->running.begin(), state_->running.end());
  }
  for (const std::shared_ptr<PoolJobState>& job : jobs) PoolJob(job).Cancel();
}

PoolStats Pool::stats() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  PoolStats stats = state_->stats;
  stats.queued = state_->queue.size();
  stats.waited_p50 = state_->waited.At(0.5);
  stats.waited_p99 = state_->waited.At(0.99);
  stats.started_p50 = state_->started.At(0.5);
  stats.started_p99 = state_->started.At(0.99);
  return stats;
}

}  // namespace parley
