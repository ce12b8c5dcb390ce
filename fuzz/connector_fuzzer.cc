// SPDX-License-Identifier: Apache-2.0

// Attacks the connecting side of a handshake over a real socket pair: Welcome and what follows it,
// right or mutated, out of order, with any number of descriptors of any kind.
//
// Input: our options (2 bytes), then messages: one byte each (modulo 6), followed by what it needs.
// They are queued before the call, and the sending direction is shut down behind them.

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/fuzz/descriptor_fixtures.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/fuzz/mutated.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/session.h"
#include "parley/handshake/wire.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/seals.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/sections.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;

constexpr int kMaxMessages = 6;
constexpr uint64_t kMaxCapacity = 16384;
constexpr uint32_t kMaxMessage = 4096;
constexpr uint64_t kMaxArena = 65536;
constexpr uint64_t kMaxBroadcast = 32768;
constexpr ChannelId kId = {0x1111'2222'3333'4444, 0x5555'6666'7777'8888};

// A memfd as an honest accepting side makes it: ours to read, or ours to write.
UniqueFd GoodRegion(uint64_t file_bytes, unsigned seals) {
  UniqueFd fd(::memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  PARLEY_CHECK(::ftruncate(fd.get(), static_cast<off_t>(file_bytes)) == 0, "ftruncate");
  PARLEY_CHECK(::fallocate(fd.get(), 0, 0, static_cast<off_t>(file_bytes)) == 0, "fallocate");
  PARLEY_CHECK(::fcntl(fd.get(), F_ADD_SEALS, seals) == 0, "seals");
  return fd;
}

// The page in front, a table of 8 KiB and the arena, if there is one, and the ring.
uint64_t FileBytesOf(const DirectionSpec& direction) {
  const ArenaGeometry& arena = direction.arena;
  return 4096 + direction.capacity_bytes + (arena.bytes == 0 ? 0 : 8192 + arena.bytes);
}

// The page in front, and each section in whole pages; small ones only.
uint64_t FileBytesOf(const SectionList& broadcast) {
  uint64_t bytes = 4096;
  for (const Section& section : broadcast.span()) {
    bytes += (section.count * section.bytes + 4095) / 4096 * 4096;
  }
  return bytes;
}

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    const uint8_t bits = script_.Take8();
    options_.registry = &registry_;
    options_.limits = {kMaxCapacity, kMaxMessage};
    options_.direction = static_cast<Direction>(bits % 3);
    if ((bits & 4) != 0) options_.trust = PeerTrust::Because("both ends are this test");
    const uint8_t rest = script_.Take8();
    // A broadcast, and in half of these cases nothing besides.
    if (rest >= 128) options_.broadcast_kinds = {3, 0x1234};
    if (rest >= 192) options_.direction = Direction::kNone;
    options_.limits.max_broadcast_bytes = kMaxBroadcast;
    if (rest >= 128) welcome_.broadcast = {{3, 2, 100}, {4, 1, 4097}};
    const bool sends =
        options_.direction == Direction::kBoth || options_.direction == Direction::kSendOnly;
    const bool receives =
        options_.direction == Direction::kBoth || options_.direction == Direction::kReceiveOnly;
    if ((bits & 8) != 0 && sends) options_.send = {8192, 100};
    if ((bits & 16) != 0 && receives) options_.receive = {4096, 0};
    options_.fences = static_cast<FenceMode>(rest / 32 % 3);
    options_.format = std::string(rest % 32, 'c');
    welcome_.roles = (sends ? kRoleSends : 0) | (receives ? kRoleReceives : 0);
    if ((bits & 64) != 0) options_.doorbell = DoorbellKind::kFutex;
    welcome_.doorbell = (bits & 64) != 0                     ? kDoorbellFutex
                        : options_.trust && (bits & 32) == 0 ? kDoorbellEventfd
                                                             : kDoorbellSocket;
    welcome_.channel_id = kId;
    if (sends) welcome_.send = {8192, 100};
    if (receives) welcome_.receive = {4096, 1024};
    options_.limits.max_arena_bytes = kMaxArena;
    if ((bits & 128) != 0) {
      if (sends) welcome_.send.arena = {8192, 64};
      if (receives) welcome_.receive.arena = {8192, 128};
      if ((bits & 8) != 0) options_.send.arena = welcome_.send.arena;
      if ((bits & 16) != 0) options_.receive.arena = welcome_.receive.arena;
    }
  }

  void Everything() {
    auto pair = PeerSocket::Pair();
    PARLEY_CHECK(pair.ok(), "a socket pair");
    PeerSocket peer = std::move(pair->first);
    for (int i = 0; i < kMaxMessages && !script_.empty(); ++i) QueueOne(peer);
    ::shutdown(peer.fd(), SHUT_WR);

    const absl::StatusOr<std::shared_ptr<Session>> made =
        ConnectHandshake(std::move(pair->second), options_, Deadline::After(absl::Seconds(60)));
    const bool ready = queued_.size() > 2 &&
                       queued_[1] == AnswerTo(queued_[0], MessageType::kDescriptors) &&
                       queued_[2] == AnswerTo(queued_[0], MessageType::kReady);
    if (honest_welcome_ && ready) PARLEY_CHECK(made.ok(), "an honest handshake was refused");
    if (made.ok()) {
      PARLEY_CHECK(ready, "complete, though the other side was not ready");
      ExpectSane(**made);
    } else {
      ExpectTyped(made.status(),
                  {absl::StatusCode::kFailedPrecondition, absl::StatusCode::kInvalidArgument,
                   absl::StatusCode::kUnavailable, absl::StatusCode::kResourceExhausted,
                   absl::StatusCode::kAlreadyExists,       // shm/region.h: one object twice
                   absl::StatusCode::kPermissionDenied});  // can't be sealed any more
    }
    ExpectHello(peer);
  }
  std::size_t Claims() const { return registry_.size(); }

 private:
  void QueueOne(const PeerSocket& peer) {
    switch (script_.Take8() % 6) {
      case 0:
        return QueueWelcome(peer);
      case 1:
        return Send(peer, Mutated(script_, EncodeChannelId(MessageType::kReady, kId)), {});
      case 2:
        return Send(
            peer, Mutated(script_, EncodeRefused(static_cast<RefusalReason>(script_.Take8()))), {});
      case 3: {
        const std::vector<std::byte> bytes = script_.TakeBytes(script_.Take8());
        if (!bytes.empty()) Send(peer, bytes, {});
        return;
      }
      case 4:
        ::send(peer.fd(), "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
        queued_.emplace_back();
        return;
      case 5:
        return Send(peer, Mutated(script_, EncodeChannelId(MessageType::kMapped, kId)), {});
    }
  }

  // The message of this type that belongs to this Welcome; empty if it is none.
  static std::vector<std::byte> AnswerTo(const std::vector<std::byte>& message, MessageType type) {
    const auto welcome = ParseWelcome(message);
    if (!welcome.ok()) return {};
    return EncodeChannelId(type, welcome->channel_id);
  }

  // The Welcome that fits our options, then its descriptors, and what the script changes.
  void QueueWelcome(const PeerSocket& peer) {
    Welcome welcome = welcome_;
    const uint8_t bits = script_.Take8();
    if ((bits & 1) != 0) welcome.send = AnyDirection();
    if ((bits & 2) != 0) welcome.receive = AnyDirection();
    if ((bits & 4) != 0) welcome.format = std::string(script_.Take8(), 'w');
    if ((bits & 64) != 0) welcome.features = bits >> 4 & 3;
    if ((bits & 8) != 0) welcome.doorbell = uint32_t{1} << (script_.Take8() % 3);

    if ((bits & 16) != 0 && (bits & 64) == 0) welcome.broadcast = AnyBroadcast();

    std::vector<UniqueFd> fds;
    fds.push_back(GoodRegion(FileBytesOf(welcome.receive), kRegionSeals));
    fds.push_back(GoodRegion(FileBytesOf(welcome.send), kShapeSeals));
    if (!welcome.broadcast.empty()) {
      fds.push_back(GoodRegion(FileBytesOf(welcome.broadcast), kRegionSeals));
    }
    const int rings = static_cast<int>((welcome.roles & 1) + (welcome.roles >> 1 & 1));
    if (welcome.doorbell == kDoorbellEventfd) {
      for (int i = 0; i < 2 * rings; ++i) {
        fds.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      }
    }
    const uint8_t change = script_.Take8();
    for (int i = change % 4; i > 0; --i) {
      const std::size_t at = script_.Take8() % fds.size();
      fds[at] = MakeDescriptor(script_, at == 2   ? FileBytesOf(welcome.broadcast)
                                        : at == 0 ? FileBytesOf(welcome.receive)
                                                  : FileBytesOf(welcome.send));
    }
    if ((change & 4) != 0) fds.resize(script_.Take8() % (fds.size() + 1));
    const std::size_t at_least = (change & 8) != 0 ? 4 + script_.Take8() % 5 : 0;
    while (fds.size() < at_least) fds.push_back(MakeDescriptor(script_, 8192));
    std::vector<int> numbers;
    for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
    // One memory object in two roles.
    if ((change & 16) != 0 && numbers.size() > 1) numbers[0] = numbers[1];
    if ((change & 32) != 0 && numbers.size() > 1) numbers[1] = numbers[0];
    const bool first = queued_.empty();
    const std::vector<std::byte> message = Mutated(script_, EncodeWelcome(welcome));
    // With the descriptors too early, now and then.
    Send(peer, message, change >= 192 ? numbers : std::vector<int>());
    std::vector<std::byte> handed_over =
        EncodeChannelId(MessageType::kDescriptors, welcome.channel_id);
    if ((bits & 128) != 0) handed_over = Mutated(script_, std::move(handed_over));
    Send(peer, handed_over, numbers);
    honest_welcome_ |= first && bits % 16 == 0 && bits < 64 && change % 64 == 0 && change < 192 &&
                       message == EncodeWelcome(welcome_);
  }

  SectionList AnyBroadcast() {
    SectionList broadcast;
    for (int i = script_.Take8() % 4; i > 0; --i) {
      const uint8_t shape = script_.Take8();
      broadcast.Add({static_cast<uint16_t>(shape % 8), 1u + (shape >> 3 & 3),
                     1 + (uint64_t{script_.Take8()} << (shape >> 5))});
    }
    return broadcast;
  }

  DirectionSpec AnyDirection() {
    const uint8_t shape = script_.Take8();
    DirectionSpec direction = {uint64_t{2048} << (shape % 8), script_.Take16()};
    if ((shape & 0x80) != 0) {
      direction.arena = {uint64_t{4096} << (shape >> 4 & 7), 64u << (shape >> 3 & 1)};
    }
    return direction;
  }

  void Send(const PeerSocket& peer, const std::vector<std::byte>& message,
            const std::vector<int>& descriptors) {
    if (peer.Send(message, descriptors).ok()) queued_.push_back(message);
  }

  void ExpectSane(Session& made) const {
    const bool may_skip = options_.fences == FenceMode::kAsymmetric ||
                          (options_.fences == FenceMode::kAutomatic && options_.trust);
    PARLEY_CHECK(!made.skips_fences() || may_skip, "skips fences that are needed");
    PARLEY_CHECK(!made.barrier_before_sleep() || options_.fences == FenceMode::kAsymmetric,
                 "makes barriers that a filter may deny");
    PARLEY_CHECK((made.send() != nullptr) == ((welcome_.roles & 1) != 0) &&
                     (made.receive() != nullptr) == ((welcome_.roles & 2) != 0),
                 "other directions than ours");
    ExpectBroadcast(made);
    const bool futex = options_.doorbell == DoorbellKind::kFutex;
    made.control().StoreRelease64(0, 1);
    if (SendDirection* send = made.send()) {
      ExpectDirection(send->ring, send->arena, options_.send);
      PARLEY_CHECK(send->data.size_bytes() == 2 * send->ring.capacity_bytes, "our data");
      send->data.StoreRelease64(2 * send->ring.capacity_bytes - 8, 1);
      PARLEY_CHECK(send->arena_memory.size_bytes() == ArenaSectionBytes(send->arena), "our arena");
      if (send->arena.bytes != 0) {
        send->arena_memory.StoreRelease64(send->arena_memory.size_bytes() - 8, 1);
      }
      PARLEY_CHECK(send->doorbell->can_be_polled() != futex,
                   "whether there is something to poll is not the peer's to say");
      static_cast<void>(send->doorbell->Drain());
    }
    if (ReceiveDirection* receive = made.receive()) {
      ExpectDirection(receive->ring, receive->arena, options_.receive);
      PARLEY_CHECK(receive->data.size_bytes() == 2 * receive->ring.capacity_bytes, "its data");
      PARLEY_CHECK(receive->arena_memory.size_bytes() == ArenaSectionBytes(receive->arena),
                   "its arena");
      std::vector<std::byte> into(receive->data.size_bytes());
      receive->data.CopyOut(0, absl::MakeSpan(into));  // every page can be read
      into.resize(receive->arena_memory.size_bytes());
      receive->arena_memory.CopyOut(0, absl::MakeSpan(into));
      PARLEY_CHECK(receive->doorbell->can_be_polled() != futex,
                   "whether there is something to poll is not the peer's to say");
      static_cast<void>(receive->doorbell->Drain());
    }
  }
  // One that was offered, within the limits, each byte of it readable.
  void ExpectBroadcast(const Session& made) const {
    const BroadcastView* view = made.broadcast();
    PARLEY_CHECK(made.reads_broadcast() == (view != nullptr), "who has the broadcast");
    PARLEY_CHECK(view != nullptr || options_.direction != Direction::kNone, "a session of nothing");
    if (view == nullptr) return;
    PARLEY_CHECK(view->Find(3) || view->Find(0x1234), "a broadcast of no kind that was offered");
    PARLEY_CHECK(!options_.broadcast_kinds.empty(), "a broadcast that was not asked for");
    uint64_t total = 0;
    for (const Section& section : view->layout().sections()) {
      const auto found = view->Find(section.kind);
      PARLEY_CHECK(found && found->section == section &&
                       found->memory.size_bytes() >= section.count * section.bytes,
                   "a section that is not all there");
      std::vector<std::byte> into(found->memory.size_bytes());
      found->memory.CopyOut(0, absl::MakeSpan(into));
      total += into.size();
    }
    PARLEY_CHECK(total <= kMaxBroadcast, "a broadcast beyond the limits");
  }
  static void ExpectDirection(const RingGeometry& ring, const ArenaGeometry& arena,
                              const RingRequest& asked) {
    PARLEY_CHECK(IsValid(ring), "an impossible ring");
    PARLEY_CHECK(ring.capacity_bytes <= kMaxCapacity && ring.max_message_bytes <= kMaxMessage,
                 "beyond the limits");
    PARLEY_CHECK(asked.capacity_bytes == 0 || ring.capacity_bytes == asked.capacity_bytes,
                 "another ring than asked for");
    PARLEY_CHECK(IsArena(arena) && arena.bytes <= kMaxArena, "an impossible arena");
    PARLEY_CHECK(asked.arena.bytes == 0 || arena.bytes == asked.arena.bytes,
                 "another arena than asked for");
    PARLEY_CHECK(arena.bytes == 0 || arena.alignment >= asked.arena.alignment,
                 "aligned to less than asked for");
  }

  // What we said is a Hello with our wishes, whatever happened afterwards.
  static void ExpectHello(const PeerSocket& peer) {
    std::array<std::byte, kMaxMessageBytes> into;
    auto got = peer.ReceiveWithDescriptors(absl::MakeSpan(into), 0, Deadline::AtMonotonicNs(0));
    // The first look says "reset" where the other side left messages of ours unread.
    if (!got.ok()) {
      got = peer.ReceiveWithDescriptors(absl::MakeSpan(into), 0, Deadline::AtMonotonicNs(0));
    }
    PARLEY_CHECK(got.ok() && ParseHello(absl::MakeConstSpan(into).first(got->size_bytes)).ok(),
                 "no Hello");
  }

  Script script_;
  FileRegistry registry_;
  ConnectOptions options_;
  Welcome welcome_;
  std::vector<std::vector<std::byte>> queued_;
  bool honest_welcome_ = false;  // the first message is one, with the right descriptors
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  fuzz::LeavesNothingAfterDisposal([&] {
    fuzz::Run run(parley::testing::Script(data, size));
    run.Everything();
    PARLEY_CHECK(run.Claims() == 0, "a claim was left behind");
    fuzz::AwaitSealHelpers();
  });
  return 0;
}
