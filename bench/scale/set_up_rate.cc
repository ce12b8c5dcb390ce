// SPDX-License-Identifier: Apache-2.0

// How many channels two processes set up in a second, and the processor time of each end, as a JSON
// line. For two builds in turns: a rate beside other work means nothing by itself.
//
//   bazel run -c opt //bench/scale:set_up_rate -- [ROUNDS [CHANNELS]]
//
// Each round makes so many channels by name, one after the other, and then destroys them.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "parley/channel/channel.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"

namespace parley::bench {
namespace {

Deadline Limit() { return Deadline::After(absl::Minutes(2)); }

double ProcessorUs(int whose) {
  rusage usage = {};
  ::getrusage(whose, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

int Connect(const std::string& name, int rounds, int channels) {
  for (int round = 0; round < rounds; ++round) {
    std::vector<Channel> all;
    for (int i = 0; i < channels; ++i) {
      auto channel = ConnectChannel(name, ConnectOptions{}, Limit());
      if (!channel.ok()) return 1;
      all.push_back(*std::move(channel));
    }
  }
  return 0;
}

int Measure(int rounds, int channels) {
  const std::string name = "parley-set-up-rate-" + std::to_string(::getpid());
  AcceptOptions options;
  options.receive.max_message_bytes = 64;
  auto listener = ChannelListener::Listen(name, options);
  PARLEY_CHECK(listener.ok(), "listen");
  const pid_t child = ::fork();
  if (child == 0) ::_exit(Connect(name, rounds, channels));

  std::vector<double> each_us;
  double sum_us = 0;
  const double before_us = ProcessorUs(RUSAGE_SELF);
  for (int round = 0; round < rounds; ++round) {
    std::vector<Channel> all;
    for (int i = 0; i < channels; ++i) {
      const int64_t begin_ns = MonotonicNowNs();
      auto channel = listener->Accept(Limit());
      if (!channel.ok()) {
        std::fprintf(stderr, "set_up_rate: %s\n", channel.status().ToString().c_str());
        return 1;
      }
      each_us.push_back(static_cast<double>(MonotonicNowNs() - begin_ns) * 1e-3);
      sum_us += each_us.back();
      all.push_back(*std::move(channel));
    }
  }
  const double accepting_us = ProcessorUs(RUSAGE_SELF) - before_us;
  int status = 0;
  ::waitpid(child, &status, 0);
  std::sort(each_us.begin(), each_us.end());
  const auto count = static_cast<double>(each_us.size());
  std::printf(
      "{\"rounds\":%d,\"channels\":%d,\"per_second\":%.0f,\"p10_us\":%.0f,\"p50_us\":%.0f,"
      "\"accepting_processor_us\":%.0f,\"connecting_processor_us\":%.0f}\n",
      rounds, channels, count / sum_us * 1e6, each_us[each_us.size() / 10],
      each_us[each_us.size() / 2], accepting_us / count, ProcessorUs(RUSAGE_CHILDREN) / count);
  return status == 0 ? 0 : 1;
}

}  // namespace
}  // namespace parley::bench

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  const int channels = argc > 2 ? std::atoi(argv[2]) : 100;
  PARLEY_CHECK(rounds > 0 && channels > 0, "set_up_rate: [ROUNDS [CHANNELS]], at least 1 each");
  return parley::bench::Measure(rounds, channels);
}
