// SPDX-License-Identifier: Apache-2.0
#include "telemetry.h"

#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/channel/channel.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/pidfd.h"

namespace {

parley::Deadline Soon() { return parley::Deadline::After(absl::Seconds(20)); }

// A sensor process: a fork of this one, at the other end of a socketpair.
class Sensor {
 public:
  explicit Sensor(const std::function<void(parley::Channel)>& run) {
    auto sockets = parley::PeerSocket::Pair();
    EXPECT_TRUE(sockets.ok());
    pid_ = ::fork();
    if (pid_ == 0) {
      {
        auto unused = std::move(sockets->first);
      }
      parley::ConnectOptions options;
      options.direction = parley::Direction::kSendOnly;
      auto channel = parley::ConnectChannel(std::move(sockets->second), options, Soon());
      if (!channel.ok()) ::_exit(1);
      run(*std::move(channel));
      ::_exit(0);
    }
    {
      auto unused = std::move(sockets->second);
    }
    auto pidfd = parley::OpenPidfd(pid_);
    EXPECT_TRUE(pidfd.ok());
    parley::AcceptOptions options;
    options.direction = parley::Direction::kReceiveOnly;
    options.peer_pidfd = pidfd->get();
    auto channel = parley::AcceptChannel(std::move(sockets->first), options, Soon());
    EXPECT_TRUE(channel.ok()) << channel.status();
    if (channel.ok()) receiver = std::move(channel->receiver);
  }
  ~Sensor() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    EXPECT_EQ(status, 0);
  }

  parley::Receiver receiver;

 private:
  pid_t pid_;
};

TEST(TelemetryTest, ReadingsArriveInOrderThenTheEnd) {
  Sensor sensor([](parley::Channel channel) {
    TelemetrySender sender(std::move(channel.sender));
    for (uint64_t i = 0; i < 10'000; ++i) {
      const auto kind = i % 2 == 0 ? Reading::Sensor::kTemperature : Reading::Sensor::kPressure;
      if (!sender.Send({kind, i * 1000, static_cast<double>(i) / 2}, Soon()).ok()) ::_exit(2);
    }
    sender.Close();
  });
  TelemetryReceiver readings(std::move(sensor.receiver));
  for (uint64_t i = 0; i < 10'000; ++i) {
    auto reading = readings.Next(Soon());
    ASSERT_TRUE(reading.ok()) << reading.status();
    ASSERT_EQ(reading->time_ns, i * 1000);
    ASSERT_EQ(reading->value, static_cast<double>(i) / 2);
    ASSERT_EQ(reading->sensor,
              i % 2 == 0 ? Reading::Sensor::kTemperature : Reading::Sensor::kPressure);
  }
  EXPECT_TRUE(absl::IsOutOfRange(readings.Next(Soon()).status()));
}

TEST(TelemetryTest, ASensorThatDiesLosesNothingThatItHadSent) {
  Sensor sensor([](parley::Channel channel) {
    TelemetrySender sender(std::move(channel.sender));
    if (!sender.Send({Reading::Sensor::kPressure, 7, 1013.25}, Soon()).ok()) ::_exit(2);
  });
  TelemetryReceiver readings(std::move(sensor.receiver));
  auto reading = readings.Next(Soon());
  ASSERT_TRUE(reading.ok()) << reading.status();
  EXPECT_EQ(reading->value, 1013.25);
  EXPECT_TRUE(absl::IsUnavailable(readings.Next(Soon()).status()));
}

TEST(TelemetryTest, WhatIsNoReadingEndsTheChannelForGood) {
  const Reading good = {Reading::Sensor::kTemperature, 5, 20.0};
  Reading not_a_number = good;
  not_a_number.value = std::numeric_limits<double>::quiet_NaN();
  Reading back_in_time = good;
  back_in_time.time_ns = 4;
  Reading no_sensor = good;
  no_sensor.sensor = static_cast<Reading::Sensor>(99);
  for (const Reading& bad : {not_a_number, back_in_time, no_sensor}) {
    Sensor sensor([&](parley::Channel channel) {
      TelemetrySender sender(std::move(channel.sender));
      for (const Reading& reading : {good, bad, good}) {
        if (!sender.Send(reading, Soon()).ok()) ::_exit(2);
      }
    });
    TelemetryReceiver readings(std::move(sensor.receiver));
    EXPECT_TRUE(readings.Next(Soon()).ok());
    EXPECT_TRUE(absl::IsDataLoss(readings.Next(Soon()).status()));
    EXPECT_TRUE(absl::IsDataLoss(readings.Next(Soon()).status()));
  }
}

TEST(TelemetryTest, AMessageOfAnotherSizeOrTagIsNoReading) {
  const std::vector<std::pair<uint32_t, std::size_t>> shapes = {{1, 0}, {1, 23}, {1, 25}, {2, 24}};
  for (const auto& [tag, size_bytes] : shapes) {
    Sensor sensor([tag = tag, size_bytes = size_bytes](parley::Channel channel) {
      const std::vector<std::byte> bytes(size_bytes);
      if (!channel.sender.Send(tag, bytes, Soon()).ok()) ::_exit(2);
    });
    TelemetryReceiver readings(std::move(sensor.receiver));
    EXPECT_TRUE(absl::IsDataLoss(readings.Next(Soon()).status())) << tag << " " << size_bytes;
  }
}

}  // namespace
