// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/rows.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "parley/bench/transports/channel.h"
#include "parley/bench/transports/descriptors.h"
#include "parley/bench/transports/limits.h"
#include "parley/bench/transports/reference.h"
#include "parley/bench/transports/ring.h"
#include "parley/bench/transports/sleepers.h"
#include "parley/bench/transports/trusting_memory.h"
#include "parley/boundary/peer_memory.h"

namespace parley::bench {
namespace {

template <Moving kMoving>
Row ChannelRow(std::string name, const ChannelMode& mode, std::string note) {
  Row row = MakeRow(std::move(name), "parley", mode.waiting, [mode](const Cell& cell) {
    return ChannelTransport<kMoving>::Create(cell, mode);
  });
  row.note = std::move(note);
  row.round_trip = kMoving != Moving::kBatched;  // there is only ever one message to publish
  constexpr std::size_t kChunk = ChunkBytesOf(kMoving);
  if (kChunk != 0) {
    row.refuses = [](const Cell& cell) {
      return cell.size_bytes > kChunk ? std::string()
                                      : std::string("a message of one chunk is not split");
    };
  }
  if (kMoving == Moving::kInPieces) {
    row.refuses = [](const Cell& cell) {
      return cell.size_bytes > kPieceBytes ? std::string()
                                           : std::string("a message of one piece is not split");
    };
  }
  return row;
}

// The best of 1 to 16 MiB for messages of 1 and 4 MiB, with chunks of 32 KiB to 1 MiB.
constexpr std::size_t kChunkedRingBytes = std::size_t{4} << 20;
constexpr std::size_t kLeastForHugePages = std::size_t{128} << 10;

ChannelMode Sleeping(DoorbellKind doorbell) {
  ChannelMode mode;
  mode.waiting = Waiting::kSleep;
  mode.doorbell = doorbell;
  mode.wait.max_spin = absl::ZeroDuration();
  return mode;
}

ChannelMode Adaptive(DoorbellKind doorbell) {
  ChannelMode mode;
  mode.waiting = Waiting::kAdaptive;
  mode.doorbell = doorbell;
  return mode;
}

void AddChannelRows(std::vector<Row>& rows) {
  const ChannelMode spin;
  ChannelMode chunked;
  chunked.ring_bytes = kChunkedRingBytes;
  ChannelMode full;
  full.fences = FenceMode::kFull;
  ChannelMode bulk;  // what waits inside never sleeps within a sample
  bulk.ring_bytes = DefaultQueueBytes(0);
  bulk.wait = WaitOptions::LowestLatency();
  rows.push_back(ChannelRow<Moving::kInPlace>(
      "parley in place", spin, "able to sleep, but spun; membarrier in whoever would sleep"));
  rows.push_back(ChannelRow<Moving::kInPlace>(
      "parley in place, full fences", full, "the default between strangers: a fence per message"));
  rows.push_back(ChannelRow<Moving::kCopied>("parley copied", spin, "copied in, copied out"));
  rows.push_back(
      ChannelRow<Moving::kCopiedOut>("parley copied out", spin, "in place where it is sent"));
  rows.push_back(ChannelRow<Moving::kInPieces>("parley copied out in pieces", spin,
                                               "as above, by 4 KiB, each read before the next"));
  ChannelMode huge;
  huge.pages = HugePages::kHugeIfPossible;
  ChannelMode huge_chunked = chunked;
  huge_chunked.pages = HugePages::kHugeIfPossible;
  for (Row row :
       {ChannelRow<Moving::kInPlace>("parley in place, huge pages", huge, "on request"),
        ChannelRow<Moving::kCopied>("parley copied, huge pages", huge, "on request"),
        ChannelRow<Moving::kChunked>("parley chunked, huge pages", huge_chunked,
                                     "on request; in chunks as above"),
        ChannelRow<Moving::kFrames>("parley frame pool, huge pages", huge, "on request")}) {
    row.refuses = [](const Cell& cell) {
      return cell.size_bytes >= kLeastForHugePages
                 ? std::string()
                 : std::string("they change nothing for shorter messages");
    };
    rows.push_back(std::move(row));
  }
  rows.push_back(ChannelRow<Moving::kBatched>("parley batched", spin,
                                              "in place; published and released 16 at a time"));
  rows.push_back(ChannelRow<Moving::kChunked>(
      "parley chunked", chunked, "in place; as records of 64 KiB through a ring of 4 MiB"));
  rows.push_back(ChannelRow<Moving::kBulk>(
      "parley bulk", bulk, "copied in and out; as records of 64 KiB through a ring of 2 MiB"));
  rows.push_back(ChannelRow<Moving::kFrames>(
      "parley frame pool", spin,
      "in place; 4 MiB of frames, or 4 of them, which come back in any order"));
  rows.push_back(ChannelRow<Moving::kFramesChunked>("parley frame pool, chunked", spin,
                                                    "in place; as frames of 2 MiB"));
  rows.push_back(ChannelRow<Moving::kFramesInPieces>("parley frame pool, copied out in pieces",
                                                     spin, "by 4 KiB, each read before the next"));
  rows.push_back(ChannelRow<Moving::kFramesChunkedInPieces>(
      "parley frame pool, chunked, copied out in pieces", spin, "as frames of 256 KiB"));
  for (const auto& [doorbell, name] :
       {std::pair(DoorbellKind::kSocket, "socket"), std::pair(DoorbellKind::kEventfd, "eventfd"),
        std::pair(DoorbellKind::kFutex, "futex")}) {
    const std::string suffix = std::string(", ") + name + " doorbell";
    rows.push_back(ChannelRow<Moving::kInPlace>("parley in place" + suffix, Sleeping(doorbell),
                                                "sleeps at once"));
  }
  ChannelMode full_sleeping = Sleeping(DoorbellKind::kFutex);
  full_sleeping.fences = FenceMode::kFull;
  rows.push_back(ChannelRow<Moving::kInPlace>(
      "parley in place, futex doorbell, full fences", full_sleeping,
      "sleeps at once; for requests that mostly sleep: no membarrier before each"));
  ChannelMode chunked_sleeping = Sleeping(DoorbellKind::kEventfd);
  chunked_sleeping.ring_bytes = kChunkedRingBytes;
  rows.push_back(ChannelRow<Moving::kChunked>("parley chunked, eventfd doorbell", chunked_sleeping,
                                              "sleeps at once; as records of 64 KiB"));
  rows.push_back(ChannelRow<Moving::kFrames>("parley frame pool, futex doorbell",
                                             Sleeping(DoorbellKind::kFutex), "sleeps at once"));
  rows.push_back(ChannelRow<Moving::kFramesChunked>("parley frame pool, chunked, futex doorbell",
                                                    Sleeping(DoorbellKind::kFutex),
                                                    "sleeps at once; as frames of 2 MiB"));
  rows.push_back(ChannelRow<Moving::kCopied>("parley copied, socket doorbell",
                                             Sleeping(DoorbellKind::kSocket), "sleeps at once"));
  rows.push_back(ChannelRow<Moving::kCopied>("parley copied, futex doorbell",
                                             Sleeping(DoorbellKind::kFutex), "sleeps at once"));
  rows.push_back(ChannelRow<Moving::kInPlace>(
      "parley in place, adaptive", Adaptive(DoorbellKind::kSocket), "the default options"));
  rows.push_back(ChannelRow<Moving::kCopied>(
      "parley copied, adaptive", Adaptive(DoorbellKind::kSocket), "the default options"));
}

// The typed ring's element is a type, so there is a row's worth of code for each size.
template <typename PeerMem, std::size_t... kSizes>
absl::StatusOr<Body> PrepareTyped(const Cell& cell, const Plan& plan, Arena& arena) {
  absl::StatusOr<Body> body = absl::InvalidArgumentError("no element of this size");
  const auto prepare = [&]<std::size_t kSize>() {
    if (cell.size_bytes != kSize) return;
    body = MakeRow("", "", Waiting::kSpin, TypedRing<PeerMem, kSize>::Create)
               .prepare(cell, plan, arena);
  };
  (prepare.template operator()<kSizes>(), ...);
  return body;
}

template <typename PeerMem>
Row TypedRow(std::string name, std::string family, std::string note) {
  Row row;
  row.name = std::move(name);
  row.family = std::move(family);
  row.note = std::move(note);
  row.prepare = PrepareTyped<PeerMem, 8, 64, 256, 1024, 4096>;
  row.refuses = [](const Cell& cell) {
    return cell.size_bytes <= 4096 ? std::string() : std::string("elements end at 4 KiB here");
  };
  return row;
}

void AddRingRows(std::vector<Row>& rows) {
  Row ring = MakeRow("parley ring in place", "parley", Waiting::kSpin,
                     RecordRing<PeerMemory, true>::Create);
  ring.note = "the ring without a channel: unable to sleep, so no fence";
  rows.push_back(std::move(ring));
  Row copied = MakeRow("parley ring copied", "parley", Waiting::kSpin,
                       RecordRing<PeerMemory, false>::Create);
  copied.note = "as above, copied in and out";
  rows.push_back(std::move(copied));
  rows.push_back(TypedRow<PeerMemory>("parley typed", "parley",
                                      "elements without headers; copied; unable to sleep"));

  Row trusting = MakeRow("parley ring, checks off", "reference", Waiting::kSpin,
                         RecordRing<TrustingMemory, true>::Create);
  trusting.note = "the same code with every check of the peer compiled out";
  rows.push_back(std::move(trusting));
  rows.push_back(TypedRow<TrustingMemory>("parley typed, checks off", "reference",
                                          "the same code with the checks compiled out"));
  Row unchecked = MakeRow("unchecked ring", "reference", Waiting::kSpin, UncheckedRing::Create);
  unchecked.note = "Parley's layout, written by someone who trusts; unable to sleep";
  rows.push_back(std::move(unchecked));
  Row flags = MakeRow("flag in slot", "reference", Waiting::kSpin, FlagSlots::Create);
  flags.note = "no positions: each slot says whether it is full; unable to sleep";
  rows.push_back(std::move(flags));
}

void AddKernelRows(std::vector<Row>& rows) {
  struct Stream {
    Kind kind;
    const char* name;
  };
  for (const Waiting waiting : {Waiting::kSpin, Waiting::kSleep}) {
    const std::string suffix = waiting == Waiting::kSpin ? ", non-blocking" : "";
    for (const Stream& stream :
         {Stream{Kind::kPipe, "pipe"}, Stream{Kind::kUnixStream, "unix stream"},
          Stream{Kind::kUnixSeqpacket, "unix seqpacket"}, Stream{Kind::kTcp, "TCP loopback"}}) {
      const Kind kind = stream.kind;
      Row row = MakeRow(stream.name + suffix, "kernel", waiting, [kind, waiting](const Cell& cell) {
        return ByteChannel::Create(cell, kind, waiting);
      });
      if (kind == Kind::kUnixSeqpacket) {
        row.refuses = [](const Cell& cell) { return SeqpacketRefuses(cell.size_bytes); };
      }
      rows.push_back(std::move(row));
    }
    Row udp = MakeRow("UDP loopback" + suffix, "kernel", waiting,
                      [waiting](const Cell& cell) { return UdpChannel::Create(cell, waiting); });
    udp.note = "with a window and an acknowledgement per window, or datagrams are lost";
    udp.refuses = [](const Cell& cell) { return UdpRefuses(cell.size_bytes); };
    rows.push_back(std::move(udp));
    Row queue =
        MakeRow("POSIX message queue" + suffix, "kernel", waiting,
                [waiting](const Cell& cell) { return MessageQueue::Create(cell, waiting); });
    queue.refuses = [](const Cell& cell) { return MessageQueueRefuses(cell.size_bytes); };
    rows.push_back(std::move(queue));
  }
  Row eventfd =
      MakeRow("eventfd and shared memory", "kernel", Waiting::kSleep, EventfdSlots::Create);
  eventfd.note = "slots without a check, a wake-up for each message: the bare exchange";
  rows.push_back(std::move(eventfd));
  Row futex = MakeRow("futex and shared memory", "kernel", Waiting::kSleep, FutexRing::Create);
  futex.note = "a ring without a check, a wake-up only for who sleeps";
  rows.push_back(std::move(futex));
}

}  // namespace

std::vector<Row> BuiltInRows() {
  std::vector<Row> rows = LimitRows();
  AddChannelRows(rows);
  AddRingRows(rows);
  AddKernelRows(rows);
  return rows;
}

}  // namespace parley::bench
