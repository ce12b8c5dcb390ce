// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/waiting/study.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/bench/histogram.h"
#include "parley/bench/json.h"
#include "parley/bench/machine.h"
#include "parley/bench/placement.h"
#include "parley/bench/quantile.h"
#include "parley/bench/transports/shared_value.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/wait/wait_options.h"
#include "parley/wait_set/listener.h"
#include "parley/wait_set/wait_set.h"

namespace parley::bench {
namespace {

constexpr std::size_t kActive = 10;
constexpr std::size_t kMessageBytes = 64;
constexpr int kMaxAtOnce = 16;
constexpr std::size_t kDescriptorsPerChannel = 4;
constexpr std::size_t kOtherDescriptors = 100;
constexpr std::size_t kConditions = 5;
using Message = std::array<std::byte, kMessageBytes>;

Deadline Limit() { return Deadline::After(absl::Minutes(2)); }
Deadline In(int ms) { return Deadline::After(absl::Milliseconds(ms)); }

enum class Work { kSendOne, kRoundTrips, kEnd };

// What the three processes share. Each number is written by one of them.
struct Shared {
  std::atomic<int> asked{0};
  std::atomic<Work> work{Work::kSendOne};
  std::atomic<double> seconds{0};
  std::atomic<Flood> flood{Flood::kNone};
  std::atomic<int> done{0};
  std::atomic<bool> failed{false};
  std::array<char, 160> why = {};  // before `failed`; ends with a zero
  std::atomic<std::size_t> condition{0};
  std::array<Histogram, kConditions> times;  // the client's, between asked and done
};

// How many of `wanted` channels a process may have.
std::size_t Allowed(std::size_t wanted) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t needed = wanted * kDescriptorsPerChannel + kOtherDescriptors;
  limit.rlim_cur = needed;
  limit.rlim_max = std::max<rlim_t>(limit.rlim_max, needed);  // beyond the hard one only root may
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return wanted;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  return std::min<std::size_t>(
      wanted, (limit.rlim_max - kOtherDescriptors) / kDescriptorsPerChannel / 100 * 100);
}

// Ahead of all others, on the allowed processor with this number.
bool GoAhead(std::size_t number) {
  const std::vector<int> processors = AllowedProcessors();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(processors[number % processors.size()]), &set);
  sched_param parameters = {};
  parameters.sched_priority = 1;
  return ::sched_setaffinity(0, sizeof(set), &set) == 0 &&
         ::sched_setscheduler(0, SCHED_FIFO, &parameters) == 0;
}

pid_t Start(const std::function<bool()>& body) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::_exit(body() ? 0 : 1);
}

// --- the client ----------------------------------------------------------------------------------

class Client {
 public:
  explicit Client(Shared& shared) : shared_(shared) {}

  bool Run(const std::string& name, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      auto channel = ConnectChannel(name, {}, Limit(), WaitOptions::LowestPower());
      if (!channel.ok()) return Fail(channel.status().ToString());
      channels_.push_back(*std::move(channel));
    }
    for (int asked = 1;; ++asked) {
      while (shared_.asked.load() != asked) ::usleep(20);
      const Work work = shared_.work.load();
      if (work == Work::kEnd) return true;
      if (!(work == Work::kSendOne ? SendOne() : RoundTrips())) return false;
      shared_.done.store(asked);
    }
  }

 private:
  bool Fail(const std::string& why) {
    why.copy(shared_.why.data(), shared_.why.size() - 1);
    shared_.failed.store(true);
    return false;
  }
  bool SendOne() {
    for (std::size_t i = 0; i < kActive; ++i) {
      if (channels_[i].sender.TrySend(0, message_) == Outcome::kOk) continue;
      return Fail("a ring is full or gone");
    }
    return true;
  }
  bool RoundTrips() {
    Histogram& times = shared_.times[shared_.condition.load()];
    const Deadline end = Deadline::After(absl::Seconds(shared_.seconds.load()));
    while (!end.Expired()) {
      for (std::size_t i = 0; i < kActive; ++i) {
        const int64_t begin_ns = MonotonicNowNs();
        const absl::Status sent = channels_[i].sender.Send(1, message_, Limit());
        if (!sent.ok()) return Fail(sent.ToString());
        const auto back = channels_[i].receiver.Receive(absl::MakeSpan(message_), Limit());
        if (!back.ok()) return Fail(back.status().ToString());
        times.Add(static_cast<uint64_t>(MonotonicNowNs() - begin_ns));
      }
    }
    return true;
  }

  Shared& shared_;
  std::vector<Channel> channels_;
  Message message_ = {};
};

// --- the flood -----------------------------------------------------------------------------------

void FloodFor(const Shared& shared, const std::string& name, Flood flood) {
  const auto goes_on = [&] { return shared.flood.load() == flood; };
  if (flood == Flood::kNone) {
    ::usleep(1000);
    return;
  }
  if (flood == Flood::kElsewhere) {
    std::array<int, 2> ends;
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return;
    const UniqueFd own(ends[0]);
    const UniqueFd other(ends[1]);
    std::array<char, 8> byte = {};
    while (goes_on()) {
      static_cast<void>(::send(own.get(), byte.data(), 1, MSG_DONTWAIT | MSG_NOSIGNAL));
      static_cast<void>(::recv(other.get(), byte.data(), 1, MSG_DONTWAIT));
    }
    return;
  }
  auto channel = ConnectChannel(name, {}, In(1000));
  if (!channel.ok()) return;
  const Message message = {};
  while (goes_on()) {
    pollfd entry = {HostileAccess::ConnectionOf(channel->sender), 0, 0};
    if (::poll(&entry, 1, 0) != 0) break;  // dropped
    for (int i = 0; i < 1000; ++i) {
      if (flood == Flood::kMessages) {
        if (channel->sender.TrySend(2, message) == Outcome::kOk) continue;
      }
      HostileAccess::DoorbellOf(channel->sender).Signal();
    }
  }
  ::usleep(100'000);  // it is not the handshakes that are measured
}

// --- the server ----------------------------------------------------------------------------------

class Server {
 public:
  Server(const WaitingOptions& options, Shared& shared, WaitingResult& result)
      : options_(options), shared_(shared), result_(result) {}

  absl::Status Run(ChannelListener listener, std::size_t count) {
    listener_.emplace(std::move(listener));
    for (std::size_t i = 0; i < count; ++i) {
      auto channel = listener_->Accept(Limit());
      if (!channel.ok()) return channel.status();
      channels_.push_back(*std::move(channel));
    }
    for (const std::size_t channels : options_.channels) {
      const std::size_t allowed = std::min(channels, count);
      if (!result_.ready.empty() && result_.ready.back().channels == allowed) continue;
      result_.ready.push_back({allowed, {}});
    }
    const std::size_t among = std::min(options_.among, count);
    result_.round_trips.push_back({kActive, Flood::kNone, {}, {}, {}});
    for (const Flood flood : {Flood::kNone, Flood::kElsewhere, Flood::kSignals, Flood::kMessages}) {
      result_.round_trips.push_back({among, flood, {}, {}, {}});
    }
    for (int pass = 0; pass < options_.passes; ++pass) {
      for (auto& ready : result_.ready) {
        if (absl::Status status = MeasureReady(ready); !status.ok()) return status;
      }
      if (absl::Status status = MeasureRoundTrips(); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  struct Served {
    Channel* channel = nullptr;
    Registration data;
  };

  absl::Status Register(std::size_t count) {
    registrations_.clear();
    others_.clear();
    set_.reset();
    auto set = WaitSet::Create();
    if (!set.ok()) return set.status();
    set_ = *std::move(set);
    for (std::size_t i = 0; i < count; ++i) {
      Channel* const channel = &channels_[i];
      auto data = set_->Add(channel->receiver.waitable(),
                            [this, channel](const absl::Status&) { Serve(*channel); });
      if (!data.ok()) return data.status();
      registrations_.push_back(*std::move(data));
    }
    return absl::OkStatus();
  }

  // Tag 1 is sent back.
  bool Serve(Channel& channel) {
    Record record;
    for (int i = 0; i < kMaxAtOnce; ++i) {
      const Outcome outcome = channel.receiver.TryReceive(absl::MakeSpan(buffer_), &record);
      if (outcome == Outcome::kWouldBlock) return true;
      if (outcome != Outcome::kOk) return false;
      ++taken_;
      if (record.tag != 1) continue;
      static_cast<void>(
          channel.sender.TrySend(1, absl::MakeConstSpan(buffer_).first(record.size_bytes)));
    }
    return true;
  }

  absl::Status ClientFailed() const {
    return absl::AbortedError(std::string("the client: ") + shared_.why.data());
  }

  int Ask(Work work) {
    shared_.work.store(work);
    shared_.asked.store(++asked_);
    return asked_;
  }

  absl::Status MeasureReady(WaitingResult::Ready& ready) {
    if (absl::Status status = Register(ready.channels); !status.ok()) return status;
    std::vector<double> times;
    for (int round = 0; round < options_.rounds; ++round) {
      set_->RunOnce(Deadline::AtMonotonicNs(0));  // all of them wait
      const int asked = Ask(Work::kSendOne);
      while (shared_.done.load() != asked) {
        if (shared_.failed.load()) return ClientFailed();
        ::usleep(20);
      }
      const uint64_t before = taken_;
      const int64_t begin_ns = MonotonicNowNs();
      while (taken_ - before < kActive) {
        if (set_->RunOnce(In(10'000)) == WaitSet::Ran::kDeadline) {
          return absl::DeadlineExceededError("a message did not arrive");
        }
      }
      times.push_back(static_cast<double>(MonotonicNowNs() - begin_ns) / kActive);
    }
    ready.ns.push_back(Median(times));
    return absl::OkStatus();
  }

  // The conditions by turns, in short windows: the machine wanders.
  absl::Status MeasureRoundTrips() {
    for (Histogram& times : shared_.times) times.Clear();
    for (int window = 0; window < options_.windows; ++window) {
      for (std::size_t i = 0; i < kConditions; ++i) {
        if (absl::Status status = MeasureWindow(i); !status.ok()) return status;
      }
    }
    for (std::size_t i = 0; i < kConditions; ++i) {
      WaitingResult::RoundTrips& trips = result_.round_trips[i];
      const Histogram& times = shared_.times[i];
      trips.p50_ns.push_back(static_cast<double>(times.Percentile(0.5)));
      trips.p99_ns.push_back(static_cast<double>(times.Percentile(0.99)));
      trips.count.push_back(static_cast<double>(times.total()));
    }
    return absl::OkStatus();
  }

  absl::Status MeasureWindow(std::size_t condition) {
    const WaitingResult::RoundTrips& trips = result_.round_trips[condition];
    if (absl::Status status = Register(trips.channels); !status.ok()) return status;
    auto listening = AddListener(set_.get(), &*listener_, [this](absl::StatusOr<Channel> channel) {
      if (channel.ok()) AddOther(*std::move(channel));
    });
    if (!listening.ok()) return listening.status();
    shared_.flood.store(trips.flood);
    for (const Deadline begin = In(30); !begin.Expired();) set_->RunOnce(begin);
    shared_.seconds.store(options_.window_s);
    shared_.condition.store(condition);
    const int asked = Ask(Work::kRoundTrips);
    while (shared_.done.load() != asked) {
      if (shared_.failed.load()) return ClientFailed();
      set_->RunOnce(In(5));
    }
    shared_.flood.store(Flood::kNone);
    return absl::OkStatus();
  }

  // One of the flood's.
  void AddOther(Channel channel) {
    others_.emplace_back();
    const auto other = std::prev(others_.end());
    other->channel = std::move(channel);
    auto data =
        set_->Add(other->channel.receiver.waitable(), [this, other](const absl::Status& status) {
          if (!status.ok() || !Serve(other->channel)) others_.erase(other);
        });
    if (data.ok()) {
      other->data = *std::move(data);
    } else {
      others_.erase(other);
    }
  }

  struct Other {
    Channel channel;
    Registration data;
  };

  const WaitingOptions& options_;
  Shared& shared_;
  WaitingResult& result_;
  std::optional<ChannelListener> listener_;
  std::vector<Channel> channels_;
  std::unique_ptr<WaitSet> set_;
  std::vector<Registration> registrations_;
  std::list<Other> others_;
  Message buffer_ = {};
  uint64_t taken_ = 0;
  int asked_ = 0;

 public:
  void End() { Ask(Work::kEnd); }
};

}  // namespace

const char* ToString(Flood flood) {
  switch (flood) {
    case Flood::kNone:
      return "none";
    case Flood::kElsewhere:
      return "elsewhere";
    case Flood::kSignals:
      return "signals";
    case Flood::kMessages:
      return "messages";
  }
  return "";
}

WaitingResult MeasureWaiting(const WaitingOptions& options) {
  WaitingResult result;
  std::size_t count = kActive;
  for (const std::size_t wanted : options.channels) count = std::max(count, Allowed(wanted));
  const SharedValue<Shared> shared;
  const std::string name = "@parley-bench-waiting-" + std::to_string(::getpid());
  AcceptOptions accept;
  accept.send = accept.receive = {4096, kMessageBytes};
  auto listener = ChannelListener::Listen(name, accept);
  if (!listener.ok()) {
    result.failed.push_back(listener.status().ToString());
    return result;
  }
  const pid_t client = Start([&] {
    if (options.realtime && !GoAhead(1)) shared->failed.store(true);
    return Client(*shared).Run(name, count);
  });
  const pid_t flood = Start([&] {
    if (options.realtime) ::setpriority(PRIO_PROCESS, 0, -20);
    while (true) FloodFor(*shared, name, shared->flood.load());
    return true;
  });
  if (options.realtime && !GoAhead(0)) result.failed.emplace_back("no real-time priority for us");
  Server server(options, *shared, result);
  if (absl::Status status = server.Run(*std::move(listener), count); !status.ok()) {
    result.failed.push_back(status.ToString());
  }
  server.End();
  for (const pid_t pid : {client, flood}) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  return result;
}

std::string ToJson(const WaitingResult& result, const std::string& commit) {
  JsonWriter json;
  const auto numbers = [&](const char* key, const std::vector<double>& values) {
    json.Key(key).BeginArray();
    for (const double value : values) json.Number(value);
    json.EndArray();
  };
  json.BeginObject().Key("machine").BeginObject();
  for (const auto& [key, value] : DescribeMachine()) json.Key(key).String(value);
  json.Key("commit").String(commit).EndObject();
  json.Key("ready").BeginArray();
  for (const auto& ready : result.ready) {
    json.BeginObject().Key("channels").Number(static_cast<double>(ready.channels));
    numbers("ns", ready.ns);
    json.EndObject();
  }
  json.EndArray().Key("round_trips").BeginArray();
  for (const auto& trips : result.round_trips) {
    json.BeginObject().Key("channels").Number(static_cast<double>(trips.channels));
    json.Key("flood").String(ToString(trips.flood));
    numbers("p50_ns", trips.p50_ns);
    numbers("p99_ns", trips.p99_ns);
    numbers("count", trips.count);
    json.EndObject();
  }
  json.EndArray().Key("failed").BeginArray();
  for (const std::string& failed : result.failed) json.String(failed);
  json.EndArray().EndObject();
  return json.text() + "\n";
}

}  // namespace parley::bench
