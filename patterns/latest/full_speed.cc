// SPDX-License-Identifier: Apache-2.0
#include "parley/patterns/latest/full_speed.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/patterns/latest/latest.h"
#include "parley/sealing/file_registry.h"
#include "parley/shm/broadcast.h"
#include "parley/testing/channel_pair.h"

namespace parley::testing {
namespace {

// What the processes share beside the values: each reader's counts, and when to stop.
struct Board {
  static constexpr int kMaxReaders = 64;
  struct Line {
    std::atomic<uint64_t> reads;
    std::atomic<uint64_t> overtaken;
    std::atomic<uint64_t> wrong;
    char rest[104];
  };
  std::atomic<uint32_t> go;
  std::atomic<uint32_t> stop;
  Line lines[kMaxReaders];
};

// Each word of a version is made of its number and its place, so that no mixture passes.
uint64_t WordOf(uint64_t version, std::size_t index) {
  return version * 0x9e37'79b9'7f4a'7c15 + index;
}

uint64_t SizeOf(uint64_t version, uint64_t value_bytes) {
  return value_bytes - version % 4 * 8 % value_bytes;
}

bool IsWhole(const std::vector<uint64_t>& words, const LatestValue& value, uint64_t value_bytes) {
  if (value.size_bytes != SizeOf(value.version, value_bytes)) return false;
  for (std::size_t i = 0; i < value.size_bytes / 8; ++i) {
    if (words[i] != WordOf(value.version, i)) return false;
  }
  return true;
}

ConnectOptions ReaderOptions(FileRegistry* registry) {
  ConnectOptions options;
  options.direction = Direction::kNone;
  options.broadcast_kinds = {kSectionLatest};
  options.registry = registry;
  return options;
}

// A reader process: its exit code.
int ReadUntilStopped(PeerSocket socket, const FullSpeedOptions& options, Board* board,
                     Board::Line* line) {
  FileRegistry registry;  // a fork has its parent's claims
  auto channel = ConnectChannel(std::move(socket), ReaderOptions(&registry),
                                Deadline::After(absl::Seconds(30)));
  if (!channel.ok()) return 2;
  auto reader = LatestReader::Create(channel->session);
  if (!reader.ok()) return 3;
  std::vector<uint64_t> words(reader->max_value_bytes() / 8);
  const auto into = WritableBytesOfWire(absl::MakeSpan(words));
  uint64_t last = 0;
  while (board->stop.load() == 0) {
    LatestValue value;
    const LatestOutcome outcome = reader->TryRead(into, &value);
    if (outcome == LatestOutcome::kOvertaken) line->overtaken.fetch_add(1);
    if (outcome == LatestOutcome::kPoisoned) return 4;
    if (outcome == LatestOutcome::kNoNewer && board->go.load() == 0) ::usleep(1000);
    if (outcome != LatestOutcome::kOk) continue;
    if (value.version <= last || !IsWhole(words, value, options.value_bytes)) {
      line->wrong.fetch_add(1);
    }
    last = value.version;
    line->reads.fetch_add(1);
  }
  return 0;
}

struct Child {
  pid_t pid = -1;
  Channel channel;  // our end
};

void WriteNext(LatestWriter& writer, uint64_t value_bytes) {
  const uint64_t version = writer.version() + 1;
  const uint64_t size = SizeOf(version, value_bytes);
  std::byte* const into = writer.Next().data();
  for (std::size_t i = 0; i < size / 8; ++i) {
    const uint64_t word = WordOf(version, i);
    std::memcpy(into + 8 * i, &word, sizeof(word));
  }
  writer.Publish(size);
}

// Until `until`; nanoseconds for each write.
double WriteUntil(LatestWriter& writer, uint64_t value_bytes, int64_t until_ns) {
  const int64_t begun_ns = MonotonicNowNs();
  uint64_t count = 0;
  int64_t now_ns = begun_ns;
  while (now_ns < until_ns) {
    for (int i = 0; i < 16; ++i) WriteNext(writer, value_bytes);
    count += 16;
    now_ns = MonotonicNowNs();
  }
  return static_cast<double>(now_ns - begun_ns) / static_cast<double>(std::max<uint64_t>(count, 1));
}

std::vector<int> UsableProcessors() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  ::sched_getaffinity(0, sizeof(usable), &usable);
  std::vector<int> processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &usable)) processors.push_back(i);
  }
  return processors;
}

// The calling thread.
void RunOn(int processor) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  ::sched_setaffinity(0, sizeof(one), &one);
}

ReadCost::Quantiles QuantilesOf(std::vector<double>& all_ns, double less_ns) {
  std::sort(all_ns.begin(), all_ns.end());
  return {all_ns[all_ns.size() / 10] - less_ns, all_ns[all_ns.size() / 2] - less_ns};
}

}  // namespace

absl::StatusOr<FullSpeedResult> RunFullSpeed(const FullSpeedOptions& options) {
  if (options.value_bytes < 64 || options.value_bytes % 8 != 0 || options.readers < 1 ||
      options.readers > Board::kMaxReaders || options.killed > options.readers) {
    return absl::InvalidArgumentError("FullSpeedOptions: 1 to 64 readers, 64 bytes and more");
  }
  void* page =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return absl::ResourceExhaustedError("no shared page");
  auto* const board = static_cast<Board*>(page);  // zeros are counts of none

  const auto geometry =
      LatestGeometry::Make({.max_value_bytes = options.value_bytes, .slots = options.slots});
  if (!geometry.ok()) return geometry.status();
  auto broadcast = Broadcast::Create({geometry->section()});
  if (!broadcast.ok()) return broadcast.status();
  auto writer = LatestWriter::Create(*broadcast);
  if (!writer.ok()) return writer.status();

  std::vector<Child> children(static_cast<std::size_t>(options.readers));
  for (std::size_t i = 0; i < children.size(); ++i) {
    auto sockets = PeerSocket::Pair();
    if (!sockets.ok()) return sockets.status();
    children[i].pid = ::fork();
    if (children[i].pid == 0) {
      {
        const PeerSocket parents = std::move(sockets->first);
      }
      ::_exit(ReadUntilStopped(std::move(sockets->second), options, board, &board->lines[i]));
    }
    {
      const PeerSocket childs = std::move(sockets->second);
    }
    AcceptOptions accept;
    accept.direction = Direction::kNone;
    accept.broadcast = *broadcast;
    auto channel =
        AcceptChannel(std::move(sockets->first), accept, Deadline::After(absl::Seconds(30)));
    if (!channel.ok()) return channel.status();
    children[i].channel = *std::move(channel);
  }

  FullSpeedResult result;
  {
    // As fast as without readers: into a broadcast that nobody has.
    auto lonely = Broadcast::Create({geometry->section()});
    if (!lonely.ok()) return lonely.status();
    auto alone = LatestWriter::Create(*lonely);
    if (!alone.ok()) return alone.status();
    result.write_alone_ns = WriteUntil(*alone, options.value_bytes, MonotonicNowNs() + 100'000'000);
  }
  const int64_t half_ns = absl::ToInt64Nanoseconds(options.time) / 2;
  board->go.store(1);
  const int64_t begun_ns = MonotonicNowNs();
  const double first_ns = WriteUntil(*writer, options.value_bytes, begun_ns + half_ns);
  for (int i = 0; i < options.killed; ++i) {
    ::kill(children[static_cast<std::size_t>(i)].pid, SIGKILL);
  }
  const double second_ns = WriteUntil(*writer, options.value_bytes, begun_ns + 2 * half_ns);
  result.write_ns = (first_ns + second_ns) / 2;
  result.written = writer->version();
  // Let each see the last one, or be at the end.
  ::usleep(20'000);
  board->stop.store(1);
  for (std::size_t i = 0; i < children.size(); ++i) {
    int status = 0;
    ::waitpid(children[i].pid, &status, 0);
    const Board::Line& line = board->lines[i];
    result.readers.push_back({line.reads.load(), line.overtaken.load(), line.wrong.load(),
                              WIFEXITED(status) ? WEXITSTATUS(status) : -1});
  }
  ::munmap(page, sizeof(Board));
  return result;
}

absl::StatusOr<ReadCost> MeasureReadCost(const ReadCostOptions& options) {
  const auto processors = UsableProcessors();
  if (options.apart && processors.size() < 2) {
    return absl::FailedPreconditionError("two processors are needed to write and read apart");
  }
  const uint64_t value_bytes = options.value_bytes;
  const auto geometry = LatestGeometry::Make({.max_value_bytes = value_bytes});
  if (!geometry.ok()) return geometry.status();
  auto broadcast = Broadcast::Create({geometry->section()});
  if (!broadcast.ok()) return broadcast.status();
  auto writer = LatestWriter::Create(*broadcast);
  if (!writer.ok()) return writer.status();
  AcceptOptions accept;
  accept.direction = Direction::kNone;
  accept.broadcast = *broadcast;
  auto pair = ChannelPair::CreateByHandshake(accept, ReaderOptions(nullptr));
  if (!pair.ok()) return pair.status();
  auto reader = LatestReader::Create((*pair)->connecting().session);
  if (!reader.ok()) return reader.status();

  const uint64_t bytes = geometry->section_bytes();
  void* plain = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (plain == MAP_FAILED) return absl::ResourceExhaustedError("no shared memory");
  auto* const base = static_cast<std::byte*>(plain);
  std::vector<std::byte> value(value_bytes, std::byte{7});
  std::vector<std::byte> into(reader->max_value_bytes());
  const auto place_of = [&](int round) {
    return base + geometry->ValueOffset(static_cast<uint32_t>(round) / 2 % geometry->slots());
  };
  const auto write = [&](int round) {
    if (round % 2 == 0) {
      writer->Write(value);
    } else {
      std::memcpy(place_of(round), value.data(), value.size());
    }
  };

  // Even: the other thread's turn, to write the one or the other; odd: ours, to read it.
  std::atomic<int> turn{0};
  const auto await = [&turn](int parity) {
    for (int looks = 1; turn.load() % 2 != parity; ++looks) {
      if (looks % 4096 == 0) ::sched_yield();
    }
  };
  cpu_set_t before;
  ::sched_getaffinity(0, sizeof(before), &before);
  std::thread other;
  if (options.apart) {
    RunOn(processors[0]);
    other = std::thread([&] {
      RunOn(processors[1]);
      for (int round = 0; round < 2 * options.rounds; ++round) {
        await(0);
        write(round);
        turn.fetch_add(1);
      }
    });
  }
  // What the clock itself takes is no part of either.
  std::vector<double> clock;
  for (int i = 0; i < 1001; ++i) {
    const int64_t begun_ns = MonotonicNowNs();
    clock.push_back(static_cast<double>(MonotonicNowNs() - begun_ns));
  }
  std::vector<double> reads;
  std::vector<double> copies;
  bool found = true;
  for (int round = 0; round < 2 * options.rounds; ++round) {
    if (options.apart) {
      await(1);
    } else {
      write(round);
    }
    const int64_t begun_ns = MonotonicNowNs();
    if (round % 2 == 0) {
      LatestValue read;
      found = reader->TryRead(absl::MakeSpan(into), &read) == LatestOutcome::kOk && found;
      reads.push_back(static_cast<double>(MonotonicNowNs() - begun_ns));
    } else {
      std::memcpy(into.data(), place_of(round), value.size());
      asm volatile("" : : "r"(into.data()) : "memory");
      copies.push_back(static_cast<double>(MonotonicNowNs() - begun_ns));
    }
    turn.fetch_add(1);
  }
  if (other.joinable()) other.join();
  ::sched_setaffinity(0, sizeof(before), &before);
  ::munmap(plain, bytes);
  if (!found) return absl::InternalError("a read that did not find its value");
  const double clock_ns = QuantilesOf(clock, 0).p50_ns;
  return ReadCost{QuantilesOf(reads, clock_ns), QuantilesOf(copies, clock_ns)};
}

}  // namespace parley::testing
