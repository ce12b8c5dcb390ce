// SPDX-License-Identifier: Apache-2.0
#include "parley/patterns/latest/latest.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/patterns/latest/full_speed.h"
#include "parley/patterns/latest/layout.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/sections.h"
#include "parley/testing/channel_pair.h"

namespace parley {
namespace {

using testing::ChannelPair;

Deadline Soon() { return Deadline::After(absl::Seconds(10)); }
Deadline InMs(int64_t ms) { return Deadline::After(absl::Milliseconds(ms)); }

std::vector<std::byte> Bytes(std::size_t count, int fill) {
  return std::vector<std::byte>(count, static_cast<std::byte>(fill));
}

// A session that has the broadcast.
std::unique_ptr<ChannelPair> Connected(const std::shared_ptr<Broadcast>& broadcast,
                                       Direction accepting = Direction::kNone,
                                       Direction connecting = Direction::kNone) {
  AcceptOptions accept;
  accept.direction = accepting;
  accept.broadcast = broadcast;
  ConnectOptions connect;
  connect.direction = connecting;
  connect.broadcast_kinds = {kSectionLatest};
  auto pair = ChannelPair::CreateByHandshake(accept, connect);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return *std::move(pair);
}

std::shared_ptr<Broadcast> OfValues(uint64_t max_value_bytes, uint32_t slots = 4) {
  const auto geometry = LatestGeometry::Make({.max_value_bytes = max_value_bytes, .slots = slots});
  return *Broadcast::Create({geometry->section()});
}

LatestReader ReaderOf(const std::unique_ptr<ChannelPair>& pair, LatestReaderOptions options = {}) {
  auto reader = LatestReader::Create(pair->connecting().session, options);
  EXPECT_TRUE(reader.ok()) << reader.status();
  return *std::move(reader);
}

TEST(LatestPortTest, EachReaderGetsTheNewestValueByItsOwnSession) {
  const auto broadcast = OfValues(1000);
  auto writer = LatestWriter::Create(broadcast);
  ASSERT_TRUE(writer.ok()) << writer.status();
  writer->Write(Bytes(10, 1));
  const auto alone = Connected(broadcast);
  const auto talking = Connected(broadcast, Direction::kReceiveOnly, Direction::kSendOnly);
  const auto both = Connected(broadcast, Direction::kBoth, Direction::kBoth);
  for (const auto* pair : {&alone, &talking, &both}) {
    LatestReader reader = ReaderOf(*pair);
    LatestReader second = ReaderOf(*pair);  // on the same session
    std::vector<std::byte> into(reader.max_value_bytes());
    for (int i = 1; i < 10; ++i) {
      writer->Write(Bytes(100 * static_cast<std::size_t>(i), i));
      for (LatestReader* each : {&reader, &second}) {
        const auto value = each->Read(absl::MakeSpan(into), Soon());
        ASSERT_TRUE(value.ok()) << value.status();
        EXPECT_EQ(value->version, writer->version());
        EXPECT_EQ(std::vector(into.begin(),
                              into.begin() + static_cast<std::ptrdiff_t>(value->size_bytes)),
                  Bytes(100 * static_cast<std::size_t>(i), i));
        EXPECT_FALSE(each->HasNewer());
      }
    }
  }
  // What comes back: an ordinary channel beside it.
  EXPECT_EQ(talking->connecting().sender.TrySend(7, Bytes(5, 5)), Outcome::kOk);
}

TEST(LatestPortTest, MegabytesAreReadWhole) {
  const auto broadcast = OfValues(8 << 20, 2);
  auto writer = LatestWriter::Create(broadcast);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto pair = Connected(broadcast);
  LatestReader reader = ReaderOf(pair);
  std::vector<std::byte> into(reader.max_value_bytes());
  for (int i = 1; i < 4; ++i) {
    writer->Write(Bytes(8 << 20, i));
    ASSERT_TRUE(reader.Read(absl::MakeSpan(into), Soon()).ok());
    EXPECT_EQ(into, Bytes(8 << 20, i));
  }
}

TEST(LatestPortTest, AReadWaitsForTheNextVersionAndKeepsItsDeadline) {
  const auto broadcast = OfValues(64);
  auto writer = LatestWriter::Create(broadcast);
  const auto pair = Connected(broadcast);
  LatestReader reader = ReaderOf(pair);
  std::vector<std::byte> into(reader.max_value_bytes());
  int64_t begun_ns = MonotonicNowNs();
  EXPECT_EQ(reader.Read(absl::MakeSpan(into), InMs(30)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNowNs() - begun_ns, 30'000'000);
  std::thread other([&] {
    absl::SleepFor(absl::Milliseconds(50));
    writer->Write(Bytes(3, 3));
  });
  begun_ns = MonotonicNowNs();
  const auto value = reader.Read(absl::MakeSpan(into), Soon());
  EXPECT_GE(MonotonicNowNs() - begun_ns, 40'000'000);
  other.join();
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->size_bytes, 3u);
}

TEST(LatestPortTest, TheWritersEndIsSeenAndItsLastValueStays) {
  const auto broadcast = OfValues(64);
  auto writer = LatestWriter::Create(broadcast);
  const auto pair = Connected(broadcast);
  LatestReader reader = ReaderOf(pair);
  LatestReader later = ReaderOf(pair);
  std::vector<std::byte> into(reader.max_value_bytes());
  writer->Write(Bytes(1, 1));
  pair->accepting() = Channel();
  EXPECT_TRUE(reader.Read(absl::MakeSpan(into), Soon()).ok());
  const int64_t begun_ns = MonotonicNowNs();
  EXPECT_EQ(reader.Read(absl::MakeSpan(into), Soon()).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_LT(MonotonicNowNs() - begun_ns, 5'000'000'000);
  LatestValue value;
  EXPECT_EQ(later.TryRead(absl::MakeSpan(into), &value), LatestOutcome::kOk);
  EXPECT_EQ(reader.violation(), Violation::kNone);
}

// Whatever the next read has of time, and whatever the writer does later: it may go on with its
// broadcast, for others.
TEST(LatestPortTest, AnEndThatWasToldStays) {
  const auto broadcast = OfValues(64);
  auto writer = LatestWriter::Create(broadcast);
  const auto pair = Connected(broadcast);
  LatestReader reader = ReaderOf(pair);
  std::vector<std::byte> into(reader.max_value_bytes());
  const auto read = [&](Deadline deadline) {
    return reader.Read(absl::MakeSpan(into), deadline).status().code();
  };
  writer->Write(Bytes(1, 1));
  pair->accepting() = Channel();
  EXPECT_EQ(read(Soon()), absl::StatusCode::kOk) << "what was there before";
  EXPECT_EQ(read(Soon()), absl::StatusCode::kUnavailable);
  EXPECT_EQ(read(Deadline::AtMonotonicNs(0)), absl::StatusCode::kUnavailable);
  EXPECT_EQ(read(Deadline::After(absl::Microseconds(5))), absl::StatusCode::kUnavailable);
  writer->Write(Bytes(2, 2));
  EXPECT_EQ(read(Deadline::AtMonotonicNs(0)), absl::StatusCode::kUnavailable);
  EXPECT_EQ(read(Soon()), absl::StatusCode::kUnavailable);
  LatestValue value;
  EXPECT_FALSE(reader.HasNewer());
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(into), &value), LatestOutcome::kNoNewer);
  EXPECT_EQ(reader.violation(), Violation::kNone);
  // What ends the session otherwise is still said.
  pair->connecting().session->termination().Poison(Violation::kMetadataInvalid);
  EXPECT_TRUE(reader.HasNewer());
  EXPECT_EQ(read(Soon()), absl::StatusCode::kDataLoss);
}

// Such as another end of the session has seen; what was there before is read first.
TEST(LatestPortTest, AnEndThatIsKnownIsToldWithoutAWait) {
  const auto broadcast = OfValues(64);
  auto writer = LatestWriter::Create(broadcast);
  const auto pair = Connected(broadcast);
  LatestReader reader = ReaderOf(pair);
  std::vector<std::byte> into(reader.max_value_bytes());
  const Deadline past = Deadline::AtMonotonicNs(0);
  EXPECT_EQ(reader.Read(absl::MakeSpan(into), past).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  writer->Write(Bytes(1, 1));
  pair->connecting().session->termination().SetPeerGone();
  EXPECT_TRUE(reader.Read(absl::MakeSpan(into), past).ok());
  EXPECT_EQ(reader.Read(absl::MakeSpan(into), past).status().code(),
            absl::StatusCode::kUnavailable);
}

struct PositionWire {
  uint64_t at_ns;
  std::array<float, 4> x;
};
static_assert(WireType<PositionWire>);
struct OtherWire {
  uint64_t word;
};

TEST(LatestPortTest, ValuesOfOneType) {
  const auto broadcast = OfValues(sizeof(PositionWire));
  auto writer = TypedLatestWriter<PositionWire>::Create(broadcast);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto pair = Connected(broadcast);
  auto reader = TypedLatestReader<PositionWire>::Create(pair->connecting().session);
  ASSERT_TRUE(reader.ok()) << reader.status();
  writer->Write({42, {1, 2, 3, 4}});
  const auto value = reader->Read(Soon());
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->at_ns, 42u);
  EXPECT_EQ(value->x[3], 4);
  writer->Write({43, {}});
  PositionWire next{};
  uint64_t version = 0;
  EXPECT_EQ(reader->TryRead(&next, &version), LatestOutcome::kOk);
  EXPECT_EQ(next.at_ns, 43u);
  EXPECT_EQ(version, 2u);
  EXPECT_EQ(reader->TryRead(&next), LatestOutcome::kNoNewer);
  // Another idea of the type is a violation, and holds for the session.
  auto other = TypedLatestReader<OtherWire>::Create(pair->connecting().session);
  ASSERT_TRUE(other.ok()) << other.status();
  OtherWire word{};
  EXPECT_EQ(other->TryRead(&word), LatestOutcome::kPoisoned);
  EXPECT_EQ(other->violation(), Violation::kRecordTooLong);
  EXPECT_EQ(reader->TryRead(&next), LatestOutcome::kPoisoned);
  EXPECT_EQ(reader->Read(Soon()).status().code(), absl::StatusCode::kDataLoss);
}

struct LineWire {
  std::array<uint64_t, 16> words;
};
struct LongerWire {
  std::array<uint64_t, 17> words;
};

// Values of 65 to 128 bytes take one unit of a slot, and no longer ones fit.
TEST(LatestPortTest, ATypeFitsItsSlotOrIsRefused) {
  const auto broadcast = OfValues(sizeof(LineWire));
  auto writer = TypedLatestWriter<LineWire>::Create(broadcast);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_EQ(TypedLatestWriter<LineWire>::Create(broadcast).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(TypedLatestWriter<LongerWire>::Create(OfValues(sizeof(LineWire))).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto pair = Connected(broadcast);
  auto reader = TypedLatestReader<LineWire>::Create(pair->connecting().session);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(TypedLatestReader<LongerWire>::Create(pair->connecting().session).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(reader->HasNewer());
  LineWire line{};
  line.words[15] = 15;
  writer->Write(line);
  EXPECT_EQ(writer->version(), 1u);
  EXPECT_TRUE(reader->HasNewer());
  const auto value = reader->Read(Soon());
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->words, line.words);
  EXPECT_EQ(reader->violation(), Violation::kNone);
}

TEST(LatestPortTest, AnEmptyValueIsOneWhereNobodySaysOtherwise) {
  const auto broadcast = OfValues(64);
  auto writer = LatestWriter::Create(broadcast);
  const auto pair = Connected(broadcast);
  LatestReader reader = ReaderOf(pair);
  EXPECT_EQ(reader.max_value_bytes(), 128u);
  std::vector<std::byte> into(reader.max_value_bytes());
  writer->Write({});
  const auto value = reader.Read(absl::MakeSpan(into), Soon());
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->size_bytes, 0u);
}

// What one port of a session finds holds for the others.
TEST(LatestPortTest, PromiseP6ContainmentALieHoldsForEachPortOfTheSession) {
  const auto geometry = LatestGeometry::Make({.max_value_bytes = 64});
  const auto broadcast = *Broadcast::Create({geometry->section()});
  OwnMemory section = *broadcast->TakeSection(kSectionLatest);
  const auto pair = Connected(broadcast, Direction::kBoth, Direction::kBoth);
  LatestReader finder = ReaderOf(pair);
  LatestReader other = ReaderOf(pair);
  EXPECT_FALSE(finder.HasNewer());
  EXPECT_FALSE(other.HasNewer());
  section.StoreRelease64(LatestGeometry::kVersionOffset, ~uint64_t{0});
  static_cast<void>(finder.HasNewer());
  section.StoreRelease64(LatestGeometry::kVersionOffset, 0);
  EXPECT_EQ(finder.violation(), Violation::kProducerPositionOutOfRange);
  EXPECT_EQ(other.violation(), Violation::kProducerPositionOutOfRange);
  EXPECT_TRUE(finder.HasNewer());
  EXPECT_TRUE(other.HasNewer());
  EXPECT_EQ(pair->connecting().sender.TrySend(1, Bytes(1, 1)), Outcome::kPoisoned);
  // And what the channel finds holds for the readers.
  const auto second = Connected(broadcast, Direction::kBoth, Direction::kBoth);
  LatestReader beside = ReaderOf(second);
  second->connecting().receiver.Poison(Violation::kMetadataInvalid);
  EXPECT_EQ(beside.violation(), Violation::kMetadataInvalid);
  LatestValue value;
  std::vector<std::byte> into(beside.max_value_bytes());
  EXPECT_EQ(beside.TryRead(absl::MakeSpan(into), &value), LatestOutcome::kPoisoned);
}

TEST(LatestPortTest, WhatCannotBeIsNamed) {
  const auto plain = ChannelPair::CreateByHandshake();
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(LatestReader::Create((*plain)->connecting().session).status().code(),
            absl::StatusCode::kFailedPrecondition);
  const auto broadcast = OfValues(64);
  EXPECT_TRUE(LatestWriter::Create(broadcast).ok());
  EXPECT_EQ(LatestWriter::Create(broadcast).status().code(), absl::StatusCode::kAlreadyExists);
  const auto other = *Broadcast::Create({{kSectionLatest + 1, 1, 64}});
  EXPECT_EQ(LatestWriter::Create(other).status().code(), absl::StatusCode::kNotFound);
  const auto pair = Connected(broadcast);
  for (const LatestReaderOptions& bad :
       {LatestReaderOptions{.max_value_bytes = 129}, LatestReaderOptions{.min_value_bytes = 129},
        LatestReaderOptions{.min_value_bytes = 9, .max_value_bytes = 8},
        LatestReaderOptions{.max_sleep = absl::ZeroDuration()},
        LatestReaderOptions{.max_sleep = absl::Nanoseconds(49'999)},
        LatestReaderOptions{.max_sleep = absl::Nanoseconds(1'000'000'001)},
        LatestReaderOptions{.max_sleep = absl::InfiniteDuration()}}) {
    EXPECT_EQ(LatestReader::Create(pair->connecting().session, bad).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  for (const LatestReaderOptions& good :
       {LatestReaderOptions{.max_value_bytes = 128}, LatestReaderOptions{.min_value_bytes = 128},
        LatestReaderOptions{.min_value_bytes = 8, .max_value_bytes = 8},
        LatestReaderOptions{.max_sleep = absl::Microseconds(50)},
        LatestReaderOptions{.max_sleep = absl::Seconds(1)}}) {
    EXPECT_TRUE(LatestReader::Create(pair->connecting().session, good).ok());
  }
}

// --- a hostile writer ----------------------------------------------------------------------------

TEST(LatestPortTest, AttackR14AnImpossibleSectionIsRefused) {
  for (const Section& hostile : {Section{kSectionLatest, 3, 512}, Section{kSectionLatest, 4, 256},
                                 Section{kSectionLatest, 64, 100}}) {
    const auto broadcast = *Broadcast::Create({hostile});
    EXPECT_EQ(LatestWriter::Create(broadcast).status().code(), absl::StatusCode::kInvalidArgument);
    const auto pair = Connected(broadcast);
    EXPECT_EQ(LatestReader::Create(pair->connecting().session).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

int64_t ThreadCpuNs() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// A writer that never finishes a value costs its reader little, and has a name.
TEST(LatestPortTest, PromiseP2TimeAWriterThatNeverFinishesIsOvertakenAndCheap) {
  const auto geometry = LatestGeometry::Make({.max_value_bytes = 1 << 20});
  const auto broadcast = *Broadcast::Create({geometry->section()});
  OwnMemory section = *broadcast->TakeSection(kSectionLatest);
  const auto pair = Connected(broadcast);
  LatestReader reader = ReaderOf(pair);
  std::vector<std::byte> into(reader.max_value_bytes());
  section.StoreRelease64(geometry->SequenceOffset(1), 1);
  section.StoreRelease64(LatestGeometry::kVersionOffset, 1);
  LatestValue value;
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(into), &value), LatestOutcome::kOvertaken);
  const int64_t cpu_ns = ThreadCpuNs();
  const int64_t begun_ns = MonotonicNowNs();
  EXPECT_EQ(reader.Read(absl::MakeSpan(into), InMs(200)).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_GE(MonotonicNowNs() - begun_ns, 200'000'000);
  EXPECT_LT(ThreadCpuNs() - cpu_ns, 40'000'000);
  EXPECT_EQ(reader.violation(), Violation::kNone);
  // It may still finish.
  section.StoreRelease64(geometry->SequenceOffset(1), 2);
  EXPECT_TRUE(reader.Read(absl::MakeSpan(into), Soon()).ok());
}

TEST(LatestPortTest, PromiseP6ContainmentALieEndsThisSessionAndWakesAWait) {
  const auto geometry = LatestGeometry::Make({.max_value_bytes = 64});
  const auto broadcast = *Broadcast::Create({geometry->section()});
  OwnMemory section = *broadcast->TakeSection(kSectionLatest);
  const auto pair = Connected(broadcast, Direction::kBoth, Direction::kBoth);
  LatestReader reader = ReaderOf(pair);
  std::vector<std::byte> into(reader.max_value_bytes());
  std::thread other([&] {
    absl::SleepFor(absl::Milliseconds(20));
    section.StoreRelease64(LatestGeometry::kVersionOffset, ~uint64_t{0});
  });
  EXPECT_EQ(reader.Read(absl::MakeSpan(into), Soon()).status().code(), absl::StatusCode::kDataLoss);
  other.join();
  EXPECT_EQ(reader.violation(), Violation::kProducerPositionOutOfRange);
  // The channel beside it is the same session.
  EXPECT_EQ(pair->connecting().sender.TrySend(1, Bytes(1, 1)), Outcome::kPoisoned);
}

// --- what readers can do to the writer -----------------------------------------------------------

TEST(LatestPortTest, PromiseP3WorkAWriteMakesNoSystemCall) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd done(ends[0]);
  UniqueFd says_so(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto broadcast = OfValues(1 << 16);
    auto writer = LatestWriter::Create(broadcast);
    const auto value = Bytes(1 << 16, 1);
    // read, write and exit are allowed from here on; any other call is the end.
    if (!writer.ok() || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) ::_exit(2);
    for (int i = 0; i < 1000; ++i) writer->Write(value);
    ::syscall(SYS_write, says_so.get(), "!", 1);
    ::syscall(SYS_exit, 0);
  }
  says_so.Reset();
  // Not the end of the process: the thread sanitizer's runtime has a thread in it, which stays.
  pollfd entry = {done.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 60'000), 1);
  char said = 0;
  EXPECT_EQ(entry.revents != 0 ? ::read(done.get(), &said, 1) : 0, 1);
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST(LatestPortTest, AttackR14ReadersAtFullSpeedGetWholeValuesAndAKilledOneHoldsUpNobody) {
  for (const auto& [bytes, slots] : {std::pair(uint64_t{64}, 2u), std::pair(uint64_t{65536}, 4u)}) {
    const auto result = testing::RunFullSpeed({.readers = 8,
                                               .value_bytes = bytes,
                                               .slots = slots,
                                               .time = absl::Milliseconds(600),
                                               .killed = 2});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_GT(result->written, 0u);
    uint64_t reads = 0;
    for (std::size_t i = 0; i < result->readers.size(); ++i) {
      const auto& reader = result->readers[i];
      EXPECT_EQ(reader.wrong, 0u);
      EXPECT_EQ(reader.exit_code, i < 2 ? -1 : 0);
      reads += reader.reads;
    }
    EXPECT_GT(reads, 0u);
  }
}

}  // namespace
}  // namespace parley
