// SPDX-License-Identifier: Apache-2.0

// What a picture costs on its way to another process, and to many: frames in an arena, in place and
// copied out, beside a pipe, a Unix socket, and a memfd for each picture whose descriptor is passed
// (GStreamer's unixfd). ./dev bench media [--quick].
//
// Each way does the same work: the producer writes every byte of a picture, the consumer reads
// every byte once. "at rest" is that work in one process, with nothing between. Processor time is
// that of both processes.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/bench/quantile.h"
#include "parley/bench/usage.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_fan_out.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/file_registry.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"

namespace parley {
namespace {

struct Size {
  const char* name;
  std::size_t bytes;  // I420
};
constexpr std::array<Size, 3> kSizes = {
    {{"720p", 1280 * 720 * 3 / 2}, {"1080p", 1920 * 1080 * 3 / 2}, {"4K", 3840 * 2160 * 3 / 2}}};

// What both sides of a run do: `seconds` of pictures. The consumer's part is a process of its own.
struct Run {
  std::size_t bytes;
  double seconds;
};
// What one side did.
struct Side {
  double pictures = 0;
  double wall_s = 0;
  double cpu_s = 0;
};
struct Result {
  double pictures_per_s = 0;
  double cpu_us = 0;       // of both, each picture
  double producer_us = 0;  // of the producer, each picture
};

volatile uint64_t sink = 0;

Deadline Soon() { return Deadline::After(absl::Seconds(20)); }

void Render(absl::Span<std::byte> picture, uint64_t number) {
  std::memset(picture.data(), static_cast<int>(number & 0xff), picture.size());
}
void Look(const std::byte* picture, std::size_t bytes) {
  uint64_t sum = 0;
  for (std::size_t at = 0; at + 8 <= bytes; at += 8) {
    uint64_t word;
    std::memcpy(&word, picture + at, 8);
    sum += word;
  }
  sink = sink + sum;
}

double CpuSeconds() {
  const bench::Usage usage = bench::UsageNow();
  return usage.user_s + usage.system_s;
}

// Calls `one` until the time is over or it says that this was the last.
Side Measure(double seconds, const std::function<bool(uint64_t number)>& one) {
  Side side;
  const double cpu = CpuSeconds();
  const int64_t began_ns = MonotonicNowNs();
  do {
    if (!one(static_cast<uint64_t>(side.pictures))) break;
    ++side.pictures;
    side.wall_s = static_cast<double>(MonotonicNowNs() - began_ns) / 1e9;
  } while (side.wall_s < seconds);
  side.cpu_s = CpuSeconds() - cpu;
  return side;
}

bool ReadAll(int fd, std::byte* into, std::size_t bytes) {
  while (bytes != 0) {
    const ssize_t got = ::read(fd, into, bytes);
    if (got <= 0) return false;
    into += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}
bool WriteAll(int fd, const std::byte* from, std::size_t bytes) {
  while (bytes != 0) {
    const ssize_t sent = ::write(fd, from, bytes);
    if (sent <= 0) return false;
    from += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
  return true;
}

// One way: `produce` here and `consume` in a child, each with its end of what was made.
struct Way {
  const char* name;
  std::function<Side(const Run&, UniqueFd)> produce;
  std::function<Side(const Run&, UniqueFd)> consume;
  int socket_type = SOCK_STREAM;
  bool is_pipe = false;
};

// The child's side comes back through a pipe.
pid_t Child(const std::function<Side()>& body, UniqueFd* result) {
  int ends[2];
  PARLEY_CHECK(::pipe2(ends, O_CLOEXEC) == 0, "a pipe");
  const pid_t child = ::fork();
  PARLEY_CHECK(child >= 0, "a process");
  if (child == 0) {
    ::close(ends[0]);
    const Side side = body();
    static_cast<void>(!::write(ends[1], &side, sizeof(side)));
    ::_exit(0);
  }
  ::close(ends[1]);
  *result = UniqueFd(ends[0]);
  return child;
}
Side Reap(pid_t child, const UniqueFd& result) {
  Side side;
  PARLEY_CHECK(::read(result.get(), &side, sizeof(side)) == sizeof(side), "a child that ends well");
  ::waitpid(child, nullptr, 0);
  return side;
}

Result Both(const Way& way, const Run& run) {
  int ends[2];
  PARLEY_CHECK((way.is_pipe ? ::pipe2(ends, O_CLOEXEC)
                            : ::socketpair(AF_UNIX, way.socket_type | SOCK_CLOEXEC, 0, ends)) == 0,
               "a connection");
  UniqueFd theirs(ends[0]);
  UniqueFd ours(ends[1]);
  UniqueFd result;
  const pid_t child = Child(
      [&] {
        ours.Reset();
        return way.consume(run, std::move(theirs));
      },
      &result);
  theirs.Reset();
  const Side produced = way.produce(run, std::move(ours));
  const Side consumed = Reap(child, result);
  return {consumed.pictures / std::max(consumed.wall_s, 1e-9),
          (produced.cpu_s + consumed.cpu_s) / produced.pictures * 1e6,
          produced.cpu_s / produced.pictures * 1e6};
}

// --- through the kernel: a pipe, and a socket

Side WriteEach(const Run& run, const UniqueFd& fd) {
  std::vector<std::byte> picture(run.bytes);
  return Measure(run.seconds, [&](uint64_t number) {
    Render(absl::MakeSpan(picture), number);
    return WriteAll(fd.get(), picture.data(), picture.size());
  });
}
Side ReadEach(const Run& run, const UniqueFd& fd) {
  std::vector<std::byte> picture(run.bytes);
  return Measure(1e9, [&](uint64_t) {
    if (!ReadAll(fd.get(), picture.data(), picture.size())) return false;
    Look(picture.data(), picture.size());
    return true;
  });
}

// --- a memfd for each picture; four are out at once, as in the arena

constexpr int kOut = 4;

Side PassEach(const Run& run, const UniqueFd& fd) {
  int out = 0;
  return Measure(run.seconds, [&](uint64_t number) {
    std::byte done;
    if (out == kOut && ::read(fd.get(), &done, 1) != 1) return false;
    if (out < kOut) ++out;
    const UniqueFd memory(::memfd_create("picture", MFD_CLOEXEC));
    if (::ftruncate(memory.get(), static_cast<off_t>(run.bytes)) != 0) return false;
    void* const address =
        ::mmap(nullptr, run.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (address == MAP_FAILED) return false;
    Render({static_cast<std::byte*>(address), run.bytes}, number);
    ::munmap(address, run.bytes);
    char byte = 0;
    iovec data = {&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number_of_it = memory.get();
    std::memcpy(CMSG_DATA(header), &number_of_it, sizeof(number_of_it));
    return ::sendmsg(fd.get(), &message, MSG_NOSIGNAL) == 1;
  });
}
Side TakeEach(const Run& run, const UniqueFd& fd) {
  return Measure(1e9, [&](uint64_t) {
    char byte = 0;
    iovec data = {&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message = {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (::recvmsg(fd.get(), &message, MSG_CMSG_CLOEXEC) != 1) return false;
    int number = -1;
    if (const cmsghdr* const header = CMSG_FIRSTHDR(&message)) {
      std::memcpy(&number, CMSG_DATA(header), sizeof(number));
    }
    const UniqueFd memory(number);
    void* const address = ::mmap(nullptr, run.bytes, PROT_READ, MAP_SHARED, memory.get(), 0);
    if (address == MAP_FAILED) return false;
    Look(static_cast<const std::byte*>(address), run.bytes);
    ::munmap(address, run.bytes);
    return ::write(fd.get(), &byte, 1) == 1;
  });
}

// --- an arena

Side SendEach(const Run& run, UniqueFd fd) {
  AcceptOptions options;
  options.direction = Direction::kSendOnly;
  options.send.arena = ArenaFor(kOut, run.bytes);
  auto channel = AcceptChannel(*PeerSocket::Adopt(std::move(fd)), options, Soon());
  PARLEY_CHECK(channel.ok(), "a channel");
  auto sender = FrameSender::Create(*channel);
  PARLEY_CHECK(sender.ok(), "a sender");
  const Side side = Measure(run.seconds, [&](uint64_t number) {
    auto frame = sender->Acquire(run.bytes, Soon());
    if (!frame.ok()) return false;
    Render(frame->bytes(), number);
    return sender->Send(&*frame, run.bytes, 1, {}, Soon()).ok();
  });
  sender->Close();
  static_cast<void>(channel->sender.AwaitDrained(Soon()));
  return side;
}
Side ReceiveEach(const Run& run, UniqueFd fd, bool copies) {
  ConnectOptions options;
  options.direction = Direction::kReceiveOnly;
  auto channel = ConnectChannel(*PeerSocket::Adopt(std::move(fd)), options, Soon());
  PARLEY_CHECK(channel.ok(), "a channel");
  auto receiver = FrameReceiver::Create(*channel);
  PARLEY_CHECK(receiver.ok(), "a receiver");
  std::vector<std::byte> picture(run.bytes);
  return Measure(1e9, [&](uint64_t) {
    auto frame = receiver->Receive(Soon());
    if (!frame.ok()) return false;
    if (copies) {
      if (!frame->CopyOut(absl::MakeSpan(picture))) return false;
      Look(picture.data(), picture.size());
    } else {
      Look(frame->view().BytesThatThePeerMayRewriteAtAnyTime(), frame->size_bytes());
    }
    return true;
  });
}

std::vector<Way> Ways() {
  return {
      {"arena, in place", SendEach,
       [](const Run& run, UniqueFd fd) { return ReceiveEach(run, std::move(fd), false); },
       SOCK_SEQPACKET},
      {"arena, copied out", SendEach,
       [](const Run& run, UniqueFd fd) { return ReceiveEach(run, std::move(fd), true); },
       SOCK_SEQPACKET},
      {"memfd each (unixfd)", [](const Run& run, UniqueFd fd) { return PassEach(run, fd); },
       [](const Run& run, UniqueFd fd) { return TakeEach(run, fd); }},
      {"Unix socket", [](const Run& run, UniqueFd fd) { return WriteEach(run, fd); },
       [](const Run& run, UniqueFd fd) { return ReadEach(run, fd); }},
      {"pipe",
       [](const Run& run, UniqueFd fd) {
         ::fcntl(fd.get(), F_SETPIPE_SZ, 1 << 20);
         return WriteEach(run, fd);
       },
       [](const Run& run, UniqueFd fd) { return ReadEach(run, fd); }, 0, true},
  };
}

// The work itself, and a copy, in one process: microseconds of processor time each.
double AtRest(const Run& run) {
  std::vector<std::byte> picture(run.bytes);
  const Side side = Measure(run.seconds / 2, [&](uint64_t number) {
    Render(absl::MakeSpan(picture), number);
    Look(picture.data(), picture.size());
    return true;
  });
  return side.cpu_s / side.pictures * 1e6;
}
double Memcpy(const Run& run) {
  std::vector<std::byte> from(run.bytes, std::byte{1});
  std::vector<std::byte> to(run.bytes);
  const Side side = Measure(run.seconds / 2, [&](uint64_t number) {
    from[0] = static_cast<std::byte>(number);
    std::memcpy(to.data(), from.data(), to.size());
    sink = sink + static_cast<uint64_t>(to[run.bytes / 2]);
    return true;
  });
  return side.cpu_s / side.pictures * 1e6;
}

// --- to many: what one picture costs the producer, whose receivers look at a line of it

double FanOutUs(const Run& run, int receivers) {
  auto broadcast = Broadcast::Create({FramesSection(ArenaFor(8, run.bytes))});
  PARLEY_CHECK(broadcast.ok(), "a broadcast");
  auto fan_out = FrameFanOut::Create(*broadcast);
  PARLEY_CHECK(fan_out.ok(), "a fan-out");
  AcceptOptions accept;
  accept.direction = Direction::kSendOnly;
  accept.send = {.capacity_bytes = 16384, .max_message_bytes = 1024};
  accept.broadcast = *broadcast;
  std::vector<std::pair<pid_t, UniqueFd>> children;
  for (int i = 0; i < receivers; ++i) {
    auto sockets = PeerSocket::Pair();
    PARLEY_CHECK(sockets.ok(), "a pair");
    UniqueFd result;
    const pid_t child = Child(
        [&] {
          ConnectOptions connect;
          connect.direction = Direction::kReceiveOnly;
          connect.broadcast_kinds = {kSectionFrames};
          FileRegistry own;  // this process's has the parent's regions
          connect.registry = &own;
          Side side;
          {
            auto channel = ConnectChannel(std::move(sockets->second), connect, Soon());
            if (!channel.ok()) return side;
            auto receiver = FrameReceiver::Create(*channel);
            if (!receiver.ok()) return side;
            side = Measure(1e9, [&](uint64_t) {
              auto frame = receiver->Receive(Soon());
              if (!frame.ok()) return false;
              Look(frame->view().BytesThatThePeerMayRewriteAtAnyTime(), 64);
              return true;
            });
          }
          return side;
        },
        &result);
    auto channel = AcceptChannel(std::move(sockets->first), accept, Soon());
    PARLEY_CHECK(channel.ok() && fan_out->Attach(*std::move(channel)).ok(), "a receiver");
    children.emplace_back(child, std::move(result));
  }
  const Side side = Measure(run.seconds, [&](uint64_t number) {
    auto frame = fan_out->Acquire(run.bytes, Soon());
    if (!frame.ok()) return false;
    Render(frame->bytes(), number);
    fan_out->Send(&*frame, run.bytes, 1);
    return true;
  });
  fan_out->Close();
  for (const auto& [child, result] : children) Reap(child, result);
  return side.cpu_s / side.pictures * 1e6;
}

// A line of JSON for each figure, for bench/report/media_plots.py; null: none.
int Main(bool quick, std::FILE* json) {
  const double seconds = quick ? 0.3 : 1;
  const int rounds = quick ? 3 : 5;
  std::printf(
      "Medians of %d runs of %.1f s. Pictures in I420; CPU is of both processes, each picture.\n\n",
      rounds, seconds);
  std::printf(
      "| size | way | pictures a second | CPU | above the work itself | in memcpys |\n"
      "|---|---|---|---|---|---|\n");
  for (const Size& size : kSizes) {
    const Run run = {size.bytes, seconds};
    const std::vector<Way> ways = Ways();
    std::vector<std::vector<double>> rates(ways.size());
    std::vector<std::vector<double>> cpus(ways.size());
    std::vector<double> rests;
    std::vector<double> copies;
    // By turns, so that all have the same of what else the machine does.
    for (int round = 0; round < rounds; ++round) {
      rests.push_back(AtRest(run));
      copies.push_back(Memcpy(run));
      for (std::size_t i = 0; i < ways.size(); ++i) {
        const Result result = Both(ways[i], run);
        rates[i].push_back(result.pictures_per_s);
        cpus[i].push_back(result.cpu_us);
      }
    }
    const double rest = bench::Median(rests);
    const double copy = bench::Median(copies);
    std::printf("| %s | at rest; a memcpy takes %.0f us | %.0f | %.0f us | | |\n", size.name, copy,
                1e6 / rest, rest);
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const double cpu = bench::Median(cpus[i]);
      std::printf("| %s | %s | %.0f | %.0f us | %.0f us | %.2f |\n", size.name, ways[i].name,
                  bench::Median(rates[i]), cpu, cpu - rest, (cpu - rest) / copy);
      if (json == nullptr) continue;
      std::fprintf(json, "{\"size\": \"%s\", \"way\": \"%s\", \"rate\": %.1f, \"cpu_us\": %.1f}\n",
                   size.name, ways[i].name, bench::Median(rates[i]), cpu - rest);
    }
    std::fflush(stdout);
  }
  std::printf(
      "\nThe producer's CPU for each picture of 1080p, which it renders, by receivers:\n\n"
      "| receivers | CPU | each further one, of the first |\n|---|---|---|\n");
  const Run run = {kSizes[1].bytes, seconds};
  double first = 0;
  for (const int receivers : {1, 2, 4, 8, 16, 32, 64}) {
    std::vector<double> costs;
    for (int round = 0; round < 3; ++round) costs.push_back(FanOutUs(run, receivers));
    const double cost = bench::Median(costs);
    if (receivers == 1) first = cost;
    if (json != nullptr) {
      std::fprintf(json, "{\"receivers\": %d, \"cpu_us\": %.1f}\n", receivers, cost);
    }
    std::printf("| %d | %.0f us |", receivers, cost);
    if (receivers > 1) std::printf(" %.1f %%", (cost - first) / (receivers - 1) / first * 100);
    std::printf(receivers > 1 ? " |\n" : " |  |\n");
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  bool quick = false;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> json(nullptr, &std::fclose);
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--quick") {
      quick = true;
    } else if (argument == "--json" && i + 1 < argc) {
      json.reset(std::fopen(argv[++i], "w"));
      if (json == nullptr) {
        std::fprintf(stderr, "media: cannot write %s\n", argv[i]);
        return 1;
      }
    } else {
      std::fprintf(stderr, "Usage: ./dev bench media [--quick] [--json FILE]\n");
      return argument == "--help" ? 0 : 2;
    }
  }
  std::signal(SIGPIPE, SIG_IGN);  // of a side that is done before the other
  return parley::Main(quick, json.get());
}
