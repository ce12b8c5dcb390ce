// SPDX-License-Identifier: Apache-2.0

// Attacks the accepting side of a handshake over a real socket pair, in every state: messages
// right, mutated, out of order, twice, cut, glued, with descriptors; and the region it hands out,
// sealed or not, torn or not. A second opinion, below, says of each Hello whether it must be
// refused, and why.
//
// Input: our options (3 bytes), then steps: one byte each (modulo 8), followed by what it needs.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/fuzz/descriptor_fixtures.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/fuzz/mutated.h"
#include "parley/handshake/acceptor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/negotiate.h"
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
#include "parley/wait/memory_barrier.h"

namespace parley::fuzz {
namespace {

using testing::Script;

constexpr int kMaxSteps = 24;
constexpr uint64_t kMaxCapacity = 16384;
constexpr uint32_t kMaxMessage = 2048;

const SectionList kBroadcast = {{3, 2, 100}, {0x1234, 1, 4097}};
constexpr uint64_t kBroadcastFileBytes = 4096 + 4096 + 8192;

// One for all inputs, as its writer has one for all of its readers.
std::shared_ptr<Broadcast> TheBroadcast() {
  static const std::shared_ptr<Broadcast> broadcast = *Broadcast::Create(kBroadcast);
  return broadcast;
}

AcceptOptions OptionsOf(Script& script, FileRegistry* registry) {
  const uint8_t bits = script.Take8();
  AcceptOptions options;
  options.registry = registry;
  options.limits = {kMaxCapacity, kMaxMessage};
  options.direction = static_cast<Direction>(bits % 3);
  if ((bits & 4) != 0) options.trust = PeerTrust::Because("both ends are this test");
  options.doorbell = (bits & 128) != 0                   ? DoorbellKind::kFutex
                     : (bits & 8) != 0                   ? DoorbellKind::kSocket
                     : (bits & 16) != 0 && options.trust ? DoorbellKind::kEventfd
                                                         : DoorbellKind::kAutomatic;
  if ((bits & 32) != 0) options.policy = PeerPolicy::Uid(12345);
  if ((bits & 64) != 0) {
    options.check_format = [](const std::string& format) {
      return format.empty() ? absl::OkStatus() : absl::InvalidArgumentError("not this format");
    };
  }
  const uint8_t rest = script.Take8();
  // A broadcast, and in one of these cases nothing besides.
  if (rest % 8 == 3 || rest % 8 == 4) options.broadcast = TheBroadcast();
  if (rest % 8 == 4) options.direction = Direction::kNone;
  const bool sends =
      options.direction == Direction::kBoth || options.direction == Direction::kSendOnly;
  const bool receives =
      options.direction == Direction::kBoth || options.direction == Direction::kReceiveOnly;
  if (sends) options.send = {4096, 512};
  if (receives) options.receive = {8192, 0};
  options.fences = static_cast<FenceMode>(rest / 64 % 3);
  options.format = std::string(rest % 64, 'f');
  if (rest % 8 == 5 && receives) options.receive.arena = {8192, 64};
  if (rest % 8 == 6 && sends) options.send.arena = {8192, 256};
  return options;
}

// The same question as Negotiate's, answered a second time by the rules of docs/SPEC.md. Of a
// refusal only the reason counts.
std::variant<Agreement, Refusal> Expected(const CheckedAcceptOptions& checked, const Hello& hello) {
  const AcceptOptions& options = checked.get();
  const auto refuse = [](RefusalReason reason) { return Refusal{reason, "", 0, 0}; };
  if (hello.version_min > 1) return refuse(RefusalReason::kVersion);
  if (hello.features > 3) return refuse(RefusalReason::kFeatures);
  const uint32_t asked_roles[] = {3, 2, 1, 0};  // by our direction: both, we send, we receive, none
  if (hello.roles != asked_roles[static_cast<int>(options.direction)]) {
    return refuse(RefusalReason::kRoles);
  }
  Agreement agreed;
  agreed.roles = hello.roles;
  // The whole broadcast for each that takes a kind of it, and something has to be left.
  for (const uint16_t kind : hello.broadcast_kinds) {
    if (options.broadcast && (kind == 3 || kind == 0x1234)) agreed.broadcast = kBroadcast;
  }
  if (hello.roles == 0 && agreed.broadcast.empty()) return refuse(RefusalReason::kRoles);
  // A futex where both sides ask for it, and there nothing else. An eventfd, which is dearer to be
  // wrong about, where we trust the peer.
  if (options.doorbell == DoorbellKind::kFutex) {
    agreed.doorbell = hello.doorbells & 4;
  } else if ((hello.doorbells & 1) != 0 && options.trust &&
             options.doorbell != DoorbellKind::kSocket) {
    agreed.doorbell = 1;
  } else if (options.doorbell != DoorbellKind::kEventfd) {
    agreed.doorbell = hello.doorbells & 2;
  }
  if (agreed.doorbell == 0) return refuse(RefusalReason::kDoorbell);
  // Our barrier for its missing fences: asked for, or for a peer that we trust. The reverse: asked
  // for.
  const bool asymmetric = options.fences == FenceMode::kAsymmetric;
  const bool trusted = options.fences == FenceMode::kAutomatic && options.trust;
  if ((hello.features & 2) != 0 && (asymmetric || trusted) && SystemWideBarrierWorks()) {
    agreed.features |= 1;
  }
  if ((hello.features & 1) != 0 && asymmetric && checked.may_skip_fences()) agreed.features |= 2;
  for (const DirectionSpec& request : {hello.send, hello.receive}) {
    if (request.capacity_bytes > kMaxCapacity || request.max_message_bytes > kMaxMessage) {
      return refuse(RefusalReason::kSize);
    }
  }
  // An arena is what we say, and a request is for that or for none.
  for (const auto& [request, ours] : {std::pair(hello.send.arena, options.receive.arena),
                                      std::pair(hello.receive.arena, options.send.arena)}) {
    if (request.bytes != 0 && request.bytes != ours.bytes) return refuse(RefusalReason::kSize);
  }
  // Aligned to whichever is more.
  const auto aligned = [](ArenaGeometry ours, const ArenaGeometry& request) {
    if (ours.bytes != 0 && request.alignment > ours.alignment) ours.alignment = request.alignment;
    return ours;
  };
  // We send up to 512 bytes, and receive whatever the limits allow.
  if (hello.receive.capacity_bytes != 0 && hello.receive.max_message_bytes < 512) {
    return refuse(RefusalReason::kSize);
  }
  if ((hello.roles & 1) != 0) {
    agreed.send = hello.send.capacity_bytes != 0 ? hello.send : DirectionSpec{8192, 2048};
    agreed.send.arena = aligned(options.receive.arena, hello.send.arena);
  }
  if ((hello.roles & 2) != 0) {
    agreed.receive = hello.receive.capacity_bytes != 0 ? hello.receive : DirectionSpec{4096, 512};
    agreed.receive.arena = aligned(options.send.arena, hello.receive.arena);
  }
  return agreed;
}

class Run {
 public:
  explicit Run(Script script) : script_(script), identity_refused_(false) {
    if (script_.left() > 0) {
      Script peek = script_;
      identity_refused_ = (peek.Take8() & 32) != 0;
    }
    options_ = OptionsOf(script_, &registry_);
    auto checked = CheckedAcceptOptions::Make(options_);
    PARLEY_CHECK(checked.ok(), "options that are right");
    checked_.emplace(*std::move(checked));
    auto pair = PeerSocket::Pair();
    PARLEY_CHECK(pair.ok(), "a socket pair");
    acceptor_.emplace(std::move(pair->first), &*checked_);
    peer_.emplace(std::move(pair->second));
  }
  ~Run() {
    if (page_ != MAP_FAILED) ::munmap(page_, 4096);
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty() && !over_; ++i) Step();
    // What is queued still is looked at; it ends with "nothing yet".
    for (int i = 0; i < kMaxSteps && !over_; ++i) Advance();
  }
  std::size_t Claims() const { return registry_.size(); }
  void Drop() {
    session_.reset();
    acceptor_.reset();
  }

 private:
  void Step() {
    switch (script_.Take8() % 8) {
      case 0:
        return SendHello();
      case 1:
        return SendNext();
      case 2:
        return Advance();
      case 3:
        return ReadAnswer();
      case 4:
        return TreatRegion();
      case 5:
        return SendRaw();
      case 6:
        return SendWithDescriptor();
      case 7:
        peer_.reset();
        return;
    }
  }

  // A right Hello, and then some of its bytes changed.
  void SendHello() {
    Hello hello;
    const uint8_t bits = script_.Take8();
    hello.roles = std::array<uint32_t, 4>{3, 2, 1, 0}[static_cast<std::size_t>(options_.direction)];
    hello.doorbells = (bits & 1) != 0 ? 3 : (bits & 2) != 0 ? 1 : 2;
    if ((bits & 32) != 0) hello.doorbells |= 4;
    const uint8_t shape = script_.Take8();
    if ((shape & 0x10) != 0) hello.broadcast_kinds.push_back(2);
    if ((shape & 0x20) != 0) hello.broadcast_kinds.push_back(3);
    if ((shape & 0x40) != 0) hello.broadcast_kinds.push_back(0x1234);
    DirectionSpec wish = {uint64_t{4096} << (shape % 4), script_.Take16() % 5000u % 4089};
    if ((shape & 0x80) != 0)
      wish.arena = {uint64_t{4096} << (shape >> 3 & 1), 64u << (shape >> 1 & 3)};
    if ((bits & 4) != 0 && (hello.roles & 1) != 0) hello.send = wish;
    if ((bits & 8) != 0 && (hello.roles & 2) != 0) hello.receive = wish;
    hello.features = bits >> 6;
    if ((bits & 16) != 0) hello.format = std::string(script_.Take8(), 'h');
    Send(Mutated(script_, EncodeHello(hello)));
  }

  // Accepted, and once the descriptors have come, Mapped.
  void SendNext() {
    ChannelId id = id_;
    const uint8_t bits = script_.Take8();
    if ((bits & 0x81) == 0x81) id[bits >> 1 & 1] ^= uint64_t{1} << (bits >> 2 & 31);
    const MessageType right = region_.ok() ? MessageType::kMapped : MessageType::kAccepted;
    Send(
        Mutated(script_, EncodeChannelId((bits & 0xc2) == 0xc2 ? MessageType::kReady : right, id)));
  }

  void SendRaw() {
    const uint8_t kind = script_.Take8();
    if (kind == 255) {  // empty: as the end of the session
      if (peer_) ::send(peer_->fd(), "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
      queued_.emplace_back();
    } else if (kind == 254) {
      Send(std::vector<std::byte>(kMaxMessageBytes + 1 + script_.Take8()));
    } else {
      std::vector<std::byte> bytes = script_.TakeBytes(kind);
      if (!bytes.empty()) Send(bytes);
    }
  }

  void SendWithDescriptor() {
    const UniqueFd fd = MakeDescriptor(script_, 4096 + 4096);
    const int number = fd.get();
    if (!peer_) return;
    // Refused to the sender since Linux 6.16.
    const std::byte byte{1};
    if (peer_->Send(absl::MakeConstSpan(&byte, 1), absl::MakeConstSpan(&number, 1)).ok()) {
      queued_.push_back({byte});
    }
  }

  void Send(const std::vector<std::byte>& message) {
    if (peer_ && peer_->Send(message).ok()) queued_.push_back(message);
  }

  void Advance() {
    const absl::StatusOr<bool> done = acceptor_->Advance(Deadline::After(absl::InfiniteDuration()));
    const bool had_message = !queued_.empty();
    const std::vector<std::byte> message = had_message ? queued_.front() : std::vector<std::byte>();
    if (had_message) queued_.erase(queued_.begin());
    over_ = !done.ok() || *done;
    if (!done.ok()) {
      ExpectTyped(done.status(),
                  {absl::StatusCode::kInvalidArgument, absl::StatusCode::kFailedPrecondition,
                   absl::StatusCode::kPermissionDenied, absl::StatusCode::kResourceExhausted,
                   absl::StatusCode::kUnavailable});
      PARLEY_CHECK(had_message || !peer_, "an error without a message");
    }
    if (message.empty()) {
      PARLEY_CHECK(done.ok() ? !*done : absl::IsUnavailable(done.status()),
                   "nothing, or the end, taken for a message");
      return;
    }
    if (!welcomed_) {
      const auto hello = ParseHello(message);
      const auto refusal = hello.ok() ? ExpectedRefusal(*hello) : RefusalReason::kMalformed;
      // A peer that has left is not told, and not served.
      if (peer_) PARLEY_CHECK(done.ok() == !refusal.has_value(), "the Hello's fate");
      PARLEY_CHECK(!done.ok() || !*done, "complete after a Hello");
      if (refusal && peer_) ExpectTold(*refusal);
      welcomed_ = done.ok();
      PARLEY_CHECK(registry_.size() == 0, "memory for a peer that did not answer");
      if (hello.ok()) hello_ = *hello;
      return;
    }
    const MessageType expected = accepted_ ? MessageType::kMapped : MessageType::kAccepted;
    if (done.ok()) {
      PARLEY_CHECK(ParseChannelId(message, expected, IdOf(message)).ok(),
                   "went on with another message");
      PARLEY_CHECK(*done == accepted_, "complete too early, or not at all");
      if (*done) Complete();
      accepted_ = true;
    }
  }

  // As the message has it; that it is the right one shows in the completed session.
  static ChannelId IdOf(const std::vector<std::byte>& message) {
    ChannelId id = {};
    if (message.size() >= 32) std::memcpy(id.data(), message.data() + 16, 16);
    return id;
  }

  // What the peer has to be told; nullopt: a Welcome. Negotiate is asked as well.
  std::optional<RefusalReason> ExpectedRefusal(const Hello& hello) {
    const auto expected = Expected(*checked_, hello);
    const auto answer = Negotiate(*checked_, hello);
    const auto* refusal = std::get_if<Refusal>(&expected);
    if (refusal != nullptr) {
      PARLEY_CHECK(std::holds_alternative<Refusal>(answer) &&
                       std::get<Refusal>(answer).reason == refusal->reason &&
                       !std::get<Refusal>(answer).ToStatus().ok(),
                   "negotiated where there is nothing to agree on");
    } else {
      PARLEY_CHECK(std::holds_alternative<Agreement>(answer) &&
                       std::get<Agreement>(answer) == std::get<Agreement>(expected),
                   "another agreement than the rules ask for");
      agreed_ = std::get<Agreement>(expected);
    }
    if (identity_refused_) return RefusalReason::kIdentity;
    if (refusal != nullptr) return refusal->reason;
    if (options_.check_format && !hello.format.empty()) return RefusalReason::kFormat;
    return std::nullopt;
  }

  // The last answer in the peer's queue is this refusal.
  void ExpectTold(RefusalReason reason) {
    std::vector<std::byte> last;
    std::array<std::byte, kMaxMessageBytes> into;
    while (true) {
      auto got = peer_->ReceiveWithDescriptors(absl::MakeSpan(into), 8, Deadline::AtMonotonicNs(0));
      if (!got.ok()) break;
      last.assign(into.begin(), into.begin() + static_cast<std::ptrdiff_t>(got->size_bytes));
    }
    const auto told = ParseRefused(last);
    PARLEY_CHECK(told.ok() && *told == reason, "the peer was told another reason");
  }

  void ReadAnswer() {
    if (!peer_) return;
    std::array<std::byte, kMaxMessageBytes> into;
    auto got = peer_->ReceiveWithDescriptors(absl::MakeSpan(into), 7, Deadline::AtMonotonicNs(0));
    if (!got.ok()) return;
    const auto message = absl::MakeConstSpan(into).first(got->size_bytes);
    if (!answered_) {
      const auto welcome = ParseWelcome(message);
      PARLEY_CHECK(welcome.ok() && welcomed_, "an answer that is no Welcome");
      PARLEY_CHECK(static_cast<const Agreement&>(*welcome) == agreed_, "another agreement");
      PARLEY_CHECK(welcome->format == options_.format, "another format");
      PARLEY_CHECK(got->descriptors.empty(), "descriptors before the peer answered");
      id_ = welcome->channel_id;
      answered_ = true;
      return;
    }
    if (over_ && PeekType(message).value_or(MessageType::kHello) != MessageType::kDescriptors) {
      return;  // Refused, or Ready
    }
    PARLEY_CHECK(
        ParseChannelId(message, MessageType::kDescriptors, id_).ok() && accepted_ && !region_.ok(),
        "an answer that is not about descriptors");
    const std::size_t rings = (agreed_.roles & 1) + (agreed_.roles >> 1 & 1);
    const std::size_t regions = agreed_.broadcast.empty() ? 2 : 3;
    PARLEY_CHECK(
        got->descriptors.size() == regions + (agreed_.doorbell == kDoorbellEventfd ? 2 * rings : 0),
        "another number of descriptors");
    struct stat info = {};
    PARLEY_CHECK(regions == 2 || (VerifySeals(got->descriptors[2].get(), kRegionSeals).ok() &&
                                  ::fstat(got->descriptors[2].get(), &info) == 0 &&
                                  static_cast<uint64_t>(info.st_size) == kBroadcastFileBytes),
                 "the broadcast is not as announced");
    PARLEY_CHECK(::fcntl(got->descriptors[0].get(), F_GET_SEALS) >= 0 &&
                     VerifySeals(got->descriptors[0].get(), kRegionSeals).ok(),
                 "its own region is not sealed");
    region_ = std::move(got->descriptors[1]);
  }

  // What a peer does to the region that it is to write.
  void TreatRegion() {
    if (!region_.ok()) return;
    const int fd = region_.get();
    switch (script_.Take8() % 6) {
      case 0:  // the right thing
        MapPage();
        ::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
        return;
      case 1:
        return MapPage();
      case 2:
        ::fcntl(fd, F_ADD_SEALS, script_.Take8() & 0x3f);
        return;
      case 3:
        ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    off_t{4096} * (script_.Take8() % 4), 4096);
        return;
      case 4:
        ::fallocate(fd, FALLOC_FL_KEEP_SIZE, 65536, 4096);
        return;
      case 5:
        static_cast<void>(!::ftruncate(fd, script_.Take16()));
        return;
    }
  }
  void MapPage() {
    if (page_ != MAP_FAILED) return;
    page_ = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, region_.get(), 0);
    if (page_ != MAP_FAILED) std::memset(page_, 0x5a, 8);
  }

  void Complete() {
    PARLEY_CHECK(region_.ok(), "complete, though the peer never took its region");
    PARLEY_CHECK(VerifySeals(region_.get(), kRegionSeals).ok(), "complete without the seals");
    auto taken = std::move(*acceptor_).Take();
    PARLEY_CHECK(taken.ok(), "complete, and no channel");
    session_ = *std::move(taken);
    Session& session = *session_;
    PARLEY_CHECK(session.id() == id_, "another id");
    PARLEY_CHECK(session.protocol() == hello_.format, "another format");
    PARLEY_CHECK(session.skips_fences() == ((agreed_.features & 2) != 0), "the wrong fences");
    PARLEY_CHECK(session.barrier_before_sleep() == ((agreed_.features & 1) != 0),
                 "the wrong barriers");
    PARLEY_CHECK((session.receive() != nullptr) == ((hello_.roles & 1) != 0) &&
                     (session.send() != nullptr) == ((hello_.roles & 2) != 0),
                 "other directions");
    PARLEY_CHECK(
        session.reads_broadcast() == !agreed_.broadcast.empty() && session.broadcast() == nullptr,
        "who has the broadcast");
    const uint64_t word = session.peer_control().LoadRelaxed64(0).AnyValueIsAcceptable();
    PARLEY_CHECK(word == (page_ != MAP_FAILED ? 0x5a5a5a5a5a5a5a5a : 0), "another region");
    session.control().StoreRelease64(0, 0);
    if (ReceiveDirection* receive = session.receive()) {
      ExpectRing(receive->ring, agreed_.send);
      PARLEY_CHECK(receive->data.size_bytes() == 2 * receive->ring.capacity_bytes, "its data");
      PARLEY_CHECK(receive->arena_memory.size_bytes() == ArenaSectionBytes(receive->arena),
                   "the arena's memory");
      // Every page can be read.
      std::vector<std::byte> into(receive->data.size_bytes());
      receive->data.CopyOut(0, absl::MakeSpan(into));
      into.resize(receive->arena_memory.size_bytes());
      receive->arena_memory.CopyOut(0, absl::MakeSpan(into));
      static_cast<void>(receive->doorbell->Drain());
      receive->doorbell->Signal();
    }
    if (SendDirection* send = session.send()) {
      ExpectRing(send->ring, agreed_.receive);
      PARLEY_CHECK(send->data.size_bytes() == 2 * send->ring.capacity_bytes, "our data");
      PARLEY_CHECK(send->arena_memory.size_bytes() == ArenaSectionBytes(send->arena),
                   "our arena's memory");
      static_cast<void>(send->doorbell->Drain());
      send->doorbell->Signal();
    }
  }
  static void ExpectRing(const RingGeometry& ring, const DirectionSpec& agreed) {
    PARLEY_CHECK(IsValid(ring) && ring.capacity_bytes == agreed.capacity_bytes &&
                     ring.max_message_bytes == agreed.max_message_bytes,
                 "another ring");
    PARLEY_CHECK(ring.capacity_bytes <= kMaxCapacity && ring.max_message_bytes <= kMaxMessage,
                 "beyond the limits");
  }

  Script script_;
  bool identity_refused_;
  FileRegistry registry_;
  AcceptOptions options_;
  std::optional<CheckedAcceptOptions> checked_;
  std::shared_ptr<Session> session_;
  std::optional<Acceptor> acceptor_;
  std::optional<PeerSocket> peer_;
  std::vector<std::vector<std::byte>> queued_;  // on their way to the acceptor
  Hello hello_;
  Agreement agreed_;
  ChannelId id_ = {};
  UniqueFd region_;  // the peer's, once it read its Welcome
  void* page_ = MAP_FAILED;
  bool welcomed_ = false;  // the acceptor has sent a Welcome,
  bool answered_ = false;  // and the peer has read it;
  bool accepted_ = false;  // the acceptor has sent the descriptors
  bool over_ = false;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  static_cast<void>(fuzz::TheBroadcast());  // once, and not counted
  fuzz::LeavesNothingAfterDisposal([&] {
    fuzz::Run run(parley::testing::Script(data, size));
    run.Everything();
    run.Drop();
    PARLEY_CHECK(run.Claims() == 0, "a claim was left behind");
  });
  return 0;
}
