// SPDX-License-Identifier: Apache-2.0

// Peers as they are written by those who trust the other side. Each mistake is marked NAIVE; none
// of this is to be copied. Loops and copies are bounded so that a mistake costs this process and
// nothing else of the machine.

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/wire.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/patterns/latest/layout.h"
#include "parley/ring/layout.h"
#include "parley/villain/victims.h"
#include "parley/wait/layout.h"

namespace parley::villain {
namespace {

// The bytes of a signal.
constexpr char kDataSignal = 1;
constexpr char kSpaceSignal = 2;
constexpr uint64_t kMaxMapped = uint64_t{256} << 20;

uint64_t Mapped(uint64_t data_bytes) { return std::min(data_bytes, kMaxMapped); }

Deadline InMs(int64_t ms) { return Deadline::After(absl::Milliseconds(ms)); }

// NAIVE: blocks for ever; installs whatever descriptors come, looks at them, and forgets those that
// it does not need.
std::vector<int> ReceiveTrusting(int socket, void* into, std::size_t size) {
  std::memset(into, 0, size);
  iovec part = {into, size};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(64 * sizeof(int))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  std::vector<int> descriptors;
  if (::recvmsg(socket, &message, 0) < 0) return descriptors;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_type != SCM_RIGHTS) continue;
    descriptors.resize((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(descriptors.data(), CMSG_DATA(header), descriptors.size() * sizeof(int));
  }
  for (const int fd : descriptors) {
    struct stat facts = {};
    ::fstat(fd, &facts);  // NAIVE: hangs on a file system of the peer's
  }
  return descriptors;
}

struct NaiveChannel {
  int socket = -1;
  int data_wait = -1;
  int data_ring = -1;
  int room_wait = -1;
  int room_ring = -1;
  bool eventfds = false;
  volatile uint64_t* own = nullptr;
  volatile uint64_t* theirs = nullptr;
  uint64_t own_bytes = 0;
  uint64_t their_bytes = 0;
  uint64_t head = 0;
  uint64_t tail = 0;
  uint64_t epoch_seen = 0;
  int file = -1;  // of our own region
  bool futexes = false;
  uint32_t signals = 0;
  volatile uint64_t* latest = nullptr;
  SectionWire latest_section = {};
};

// NAIVE: no seals, no kind, no size; not even whether the mapping worked.
volatile uint64_t* MapTrusting(int fd, uint64_t data_bytes, bool writable) {
  void* base = ::mmap(nullptr, kControlBytes + Mapped(data_bytes),
                      PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
  return static_cast<volatile uint64_t*>(base);
}

int MakeTrusting(uint64_t data_bytes) {
  // NAIVE: the name tells the process; no seals; sized by the peer's number.
  const std::string name = "naive-" + std::to_string(::getpid());
  const int fd = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const uint64_t size = kControlBytes + Mapped(data_bytes);
  static_cast<void>(!::ftruncate(fd, static_cast<off_t>(size)));
  return fd;
}

// Waits for nobody it should not wait for; sees nothing that it should see.
NaiveChannel AcceptTrusting(Victim& victim, int socket) {
  NaiveChannel channel;
  channel.socket = socket;
  Call call(victim.notes, "AcceptTrusting", Deadline::After(victim.setup.handshake),
            CallKind::kSetUp);
  std::array<std::byte, 8192> message;
  ReceiveTrusting(socket, message.data(), message.size());
  HelloWire hello;
  std::memcpy(&hello, message.data(), sizeof(hello));  // NAIVE: version, roles, lengths unchecked
  // NAIVE: a ring in each direction, whatever the lists say.
  std::array<SectionWire, 2> sections = {};
  std::memcpy(sections.data(), message.data() + sizeof(hello), sizeof(sections));
  const std::size_t second = hello.send_sections != 0 ? 1 : 0;
  channel.own_bytes = hello.receive_sections != 0 ? sections[second].bytes : 8192;
  channel.their_bytes = hello.send_sections != 0 ? sections[0].bytes : 8192;
  const ArenaGeometry arena = victim.setup.kind == VictimKind::kFrames
                                  ? ArenaGeometry{kVictimArenaBytes, kMinArenaAlignment}
                                  : ArenaGeometry{};
  const uint64_t section_bytes = ArenaSectionBytes(arena);
  const int own = MakeTrusting(section_bytes + channel.own_bytes);
  const int theirs = MakeTrusting(section_bytes + channel.their_bytes);
  channel.own = MapTrusting(own, section_bytes + channel.own_bytes, true);
  channel.theirs = MapTrusting(theirs, section_bytes + channel.their_bytes, true);
  for (uint64_t at = 0; at < Mapped(channel.their_bytes); at += 4096) {
    channel.theirs[at / 8] = 0;  // as much memory as the peer says
  }
  // NAIVE: a pointer of ours in shared memory, for "debugging".
  // SAFETY: bytes as sendmsg, bind and the mapping take them; this is the careless peer.
  channel.own[3] = reinterpret_cast<uintptr_t>(&victim);
  std::vector<int> descriptors = {own, theirs};
  channel.eventfds = (hello.doorbells & kDoorbellEventfd) != 0;
  channel.futexes = victim.setup.futex && (hello.doorbells & kDoorbellFutex) != 0;
  if (victim.setup.flaw == Flaw::kAssertsNumber && hello.send_max_message_bytes < 61) {
    std::abort();  // NAIVE: "cannot happen"
  }
  if (channel.eventfds) {  // NAIVE: for anybody, and blocking
    for (int i = 0; i < 4; ++i) descriptors.push_back(::eventfd(0, EFD_CLOEXEC));
    channel.data_wait = descriptors[3];
    channel.data_ring = descriptors[4];
    channel.room_wait = descriptors[2];
    channel.room_ring = descriptors[5];
  } else if (channel.futexes) {
    channel.data_wait = channel.data_ring = -1;
  } else {
    channel.data_wait = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
    channel.data_ring = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
    channel.room_wait = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
  }
  if (victim.setup.flaw == Flaw::kSignalsByPipe) {
    std::array<int, 2> pipe = {-1, -1};
    static_cast<void>(!::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK));
    ::close(channel.data_ring);
    descriptors.push_back(pipe[0]);
    channel.data_ring = pipe[1];  // NAIVE: does not wait for room, and so surely for nothing
  }
  channel.file = ::fcntl(own, F_DUPFD_CLOEXEC, 0);
  Welcome welcome;
  welcome.roles = hello.roles;
  welcome.doorbell = channel.eventfds  ? kDoorbellEventfd
                     : channel.futexes ? kDoorbellFutex
                                       : kDoorbellSocket;
  welcome.channel_id = {1, 2};
  welcome.send = {channel.their_bytes, static_cast<uint32_t>(channel.their_bytes / 4)};
  if (victim.setup.flaw == Flaw::kGrantsAnything) {
    welcome.send.max_message_bytes = hello.send_max_message_bytes;
  }
  welcome.receive = {channel.own_bytes, static_cast<uint32_t>(channel.own_bytes / 4)};
  welcome.send.arena = welcome.receive.arena = arena;
  const std::vector<std::byte> agreed = EncodeWelcome(welcome);
  ::send(socket, agreed.data(), agreed.size(), 0);
  // NAIVE: everything is made already, and handed over whether the peer answers or not.
  const std::vector<std::byte> answer =
      EncodeChannelId(MessageType::kDescriptors, welcome.channel_id);
  // SAFETY: bytes as sendmsg, bind and the mapping take them; this is the careless peer.
  iovec part = {const_cast<std::byte*>(answer.data()), answer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control = {};
  msghdr reply = {};
  reply.msg_iov = &part;
  reply.msg_iovlen = 1;
  reply.msg_control = control.data();
  reply.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
  cmsghdr* header = CMSG_FIRSTHDR(&reply);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  ::sendmsg(socket, &reply, 0);
  ReceiveTrusting(socket, message.data(), message.size());  // NAIVE: surely "accepted"
  ReceiveTrusting(socket, message.data(), message.size());  // NAIVE: surely "mapped"
  const auto ready = EncodeChannelId(MessageType::kReady, welcome.channel_id);
  ::send(socket, ready.data(), ready.size(), 0);
  ::close(own);
  ::close(theirs);
  for (std::size_t i = 2; i < descriptors.size(); ++i) {
    if (!channel.eventfds) ::close(descriptors[i]);
  }
  return channel;
}

NaiveChannel ConnectTrusting(Victim& victim) {
  NaiveChannel channel;
  channel.socket = victim.socket.get();
  Call call(victim.notes, "ConnectTrusting", Deadline::After(victim.setup.handshake),
            CallKind::kSetUp);
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket | (victim.setup.confined ? kDoorbellEventfd : 0);
  if (victim.setup.reads_latest) hello.broadcast_kinds = {kSectionLatest};
  const auto bytes = EncodeHello(hello);
  ::send(channel.socket, bytes.data(), bytes.size(), 0);
  std::array<std::byte, 8192> message;
  ReceiveTrusting(channel.socket, message.data(), message.size());
  WelcomeWire welcome;
  std::memcpy(&welcome, message.data(), sizeof(welcome));
  // NAIVE: each direction has one section, whatever it says.
  std::array<SectionWire, 3> sections;
  std::memcpy(sections.data(), message.data() + sizeof(welcome), sizeof(sections));
  channel.latest_section = sections[2];
  channel.own_bytes = sections[0].bytes;
  channel.their_bytes = sections[1].bytes;
  if (victim.setup.flaw == Flaw::kAssertsNumber && welcome.send_max_message_bytes < 61) {
    std::abort();  // NAIVE: "cannot happen"
  }
  const auto accepted =
      EncodeChannelId(MessageType::kAccepted, {welcome.channel_id[0], welcome.channel_id[1]});
  ::send(channel.socket, accepted.data(), accepted.size(), 0);
  const std::vector<int> descriptors =
      ReceiveTrusting(channel.socket, message.data(), message.size());
  const auto descriptor = [&](std::size_t i) {
    return i < descriptors.size() ? descriptors[i] : -1;
  };
  channel.theirs = MapTrusting(descriptor(0), channel.their_bytes, false);
  channel.own = MapTrusting(descriptor(1), channel.own_bytes, true);
  if (victim.setup.reads_latest) {
    const SectionWire& section = channel.latest_section;
    channel.latest = MapTrusting(descriptor(2), section.count * section.bytes, false);
  }
  ::fcntl(descriptor(1), F_ADD_SEALS,
          0x10 /* FUTURE_WRITE */);  // NAIVE: waits for the inode's lock
  const auto mapped =
      EncodeChannelId(MessageType::kMapped, {welcome.channel_id[0], welcome.channel_id[1]});
  ::send(channel.socket, mapped.data(), mapped.size(), 0);
  ReceiveTrusting(channel.socket, message.data(), message.size());
  channel.data_wait = ::fcntl(channel.socket, F_DUPFD_CLOEXEC, 0);
  channel.data_ring = ::fcntl(channel.socket, F_DUPFD_CLOEXEC, 0);
  if (descriptors.size() > 1) {
    ::close(descriptors[0]);
    ::close(descriptors[1]);
  }
  return channel;
}

// What a viewer does with a record when it believes it.
class TrustingViewer {
 public:
  std::string Take(uint32_t tag, absl::Span<std::byte> record) {
    if (tag == kVideoTag && record.size() >= sizeof(FrameHeaderWire)) {
      FrameHeaderWire header;
      std::memcpy(&header, record.data(), sizeof(header));
      const std::byte* payload = record.data() + sizeof(header);
      unsigned sum = 0;
      for (uint32_t row = 0; row < 16; ++row) {  // NAIVE: offset and stride as they come
        const volatile std::byte* line =
            payload + header.planes[0].offset_bytes + uint64_t{row} * header.planes[0].stride_bytes;
        for (int x = 0; x < 32; ++x) sum += static_cast<unsigned>(line[x]);
      }
      static_cast<void>(sum);
    }
    if (tag == kAudioTag) {
      for (std::size_t at = sizeof(FrameHeaderWire); at + 4 <= record.size(); at += 4) {
        float sample = 0;
        std::memcpy(&sample, record.data() + at, sizeof(sample));
        if (!std::isfinite(sample) || std::fabs(sample) > 1) return "played what hurts";
      }
    }
    return "";
  }
};

class TrustingSession {
 public:
  TrustingSession(Victim& victim, NaiveChannel channel)
      : victim_(victim), channel_(channel), buffer_((2 << 20) + 64, kCanary) {
    // NAIVE: a filter that lacks what a stopped and continued wait needs.
    if (victim.setup.confinement != Confinement::kNone) LoadNaiveFilter(SYS_restart_syscall);
  }

  void Run() {
    std::string wrong;
    while (victim_.notes.enough.load() == 0 && wrong.empty()) {
      wrong = Receive();
      if (wrong.empty()) wrong = Send();
      if (wrong.empty() && Has(Flaw::kAwaitsRoom)) AwaitRoom();
      if (wrong.empty() && channel_.latest != nullptr) wrong = ReadLatest();
    }
    Close();
    victim_.socket.Reset();
    if (wrong.empty()) {
      victim_.notes.Finish(End::kServed, "believed everything");
    } else {
      victim_.notes.Finish(End::kWrong, wrong);
    }
  }

  // A few rounds, for a listener.
  void ServeBriefly() {
    for (int round = 0; round < 10 && victim_.notes.enough.load() == 0; ++round) {
      static_cast<void>(Receive());
      Send();
    }
    Close();
  }

 private:
  bool Has(Flaw flaw) const { return victim_.setup.flaw == flaw; }

  void Close() const {
    ::close(channel_.file);
    ::close(channel_.data_wait);
    ::close(channel_.data_ring);
    ::close(channel_.room_wait);
    if (channel_.eventfds) ::close(channel_.room_ring);
    // SAFETY: bytes as sendmsg, bind and the mapping take them; this is the careless peer.
    ::munmap(const_cast<uint64_t*>(channel_.own), kControlBytes + Mapped(channel_.own_bytes));
    // SAFETY: bytes as sendmsg, bind and the mapping take them; this is the careless peer.
    ::munmap(const_cast<uint64_t*>(channel_.theirs), kControlBytes + Mapped(channel_.their_bytes));
  }
  volatile uint64_t* Data() const { return channel_.theirs + kControlBytes / 8; }

  // NAIVE: as soon as it is woken it looks, as often as that is.
  // A signal for the other ring is none for this one.
  void Sleep(int descriptor, std::size_t signals_offset, char awaits, int ms) {
    if (Has(Flaw::kWaitsForSignal)) ms = -1;
    if (channel_.futexes) {
      // SAFETY: the low half of a word, as the kernel wants it; this is the careless peer.
      auto* const word = const_cast<uint32_t*>(
          reinterpret_cast<volatile uint32_t*>(channel_.theirs + signals_offset / 8));
      const timespec limit = {0, int64_t{ms} * 1'000'000};
      ::syscall(SYS_futex, word, FUTEX_WAIT, channel_.signals, ms < 0 ? nullptr : &limit, nullptr,
                0);
      channel_.signals = *word;
      return;
    }
    const int64_t end_ns = MonotonicNowNs() + int64_t{ms} * 1'000'000;
    const char other = awaits == kDataSignal ? kSpaceSignal : kDataSignal;
    do {
      pollfd entry = {descriptor, POLLIN, 0};
      const int64_t left_ms = std::max<int64_t>(0, (end_ns - MonotonicNowNs()) / 1'000'000);
      if (::poll(&entry, 1, ms < 0 ? -1 : static_cast<int>(left_ms)) <= 0) return;
      const int64_t until_ns = MonotonicNowNs() + 100'000;  // "a moment later"
      while (Has(Flaw::kReadsLate) && MonotonicNowNs() < until_ns) {
      }
    } while (Drain(descriptor) == other && MonotonicNowNs() < end_ns);
    woken_ = true;
  }

  std::string ReadLatest() {
    Call call(victim_.notes, "ReadLatest", InMs(10));
    const volatile uint64_t* words = channel_.latest + kControlBytes / 8;
    const uint64_t version = words[0];
    if (version == 0) return "";
    if (version < latest_version_) return "took an older value for the newest";
    latest_version_ = version;
    const volatile uint64_t* slot =
        words + version % channel_.latest_section.count * channel_.latest_section.bytes / 8;
    while (slot[16] % 2 != 0) {  // NAIVE: it will be done in a moment
    }
    const uint64_t size = slot[17];  // NAIVE: believed
    uint64_t sum = 0;
    for (uint64_t at = 0; at < size; at += 4096) sum += slot[(kLatestFrontBytes + at) / 8];
    static_cast<void>(sum);
    victim_.notes.messages.fetch_add(1);
    return "";
  }

  void AwaitRoom() {
    Call call(victim_.notes, "AwaitRoom", InMs(20));
    if (channel_.theirs[kHeadOffset / 8] == channel_.tail) return;
    Sleep(channel_.room_wait, kSpaceSignalsOffset, kSpaceSignal, 20);
    if (channel_.theirs[kHeadOffset / 8] != channel_.tail) call.BroughtNothing();
  }

  // The mistakes that one case each is about.
  std::string MakeMistakes() {
    if (Has(Flaw::kLocksFile)) {
      const std::string path = "/proc/self/fd/" + std::to_string(channel_.file);
      const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      ::flock(file.get(), LOCK_EX);
    }
    if (Has(Flaw::kAsksForHoles)) ::lseek(channel_.file, 0, SEEK_HOLE);
    if (Has(Flaw::kReadsBack) && channel_.own[kTailOffset / 8] != channel_.tail) {
      return "its own position was another one";
    }
    while (Has(Flaw::kSpinsOnPeer) && channel_.theirs[kReceiveEpochOffset / 8] == 1) {
      ::sched_yield();
    }
    if (const uint64_t bytes = channel_.theirs[3]; Has(Flaw::kGeometryIsShared) && bytes != 0) {
      channel_.their_bytes = bytes;
      static_cast<void>(Data()[(bytes - 8) / 8]);
    }
    if (Has(Flaw::kBelievesTwice)) {
      const uint64_t checked = channel_.theirs[kTailOffset / 8] - channel_.head;
      ::sched_yield();
      if (checked <= channel_.their_bytes) {
        const uint64_t used = channel_.theirs[kTailOffset / 8] - channel_.head;
        if (used > 8) static_cast<void>(Data()[(used - 8) / 8]);
      }
    }
    return "";
  }

  std::string Receive() {
    Call call(victim_.notes, "Receive", InMs(30));
    std::string wrong = MakeMistakes();
    if (!wrong.empty()) return wrong;
    do {
      wrong = TakeOne(call);
    } while (Has(Flaw::kTakesAll) && wrong.empty() &&
             channel_.theirs[kTailOffset / 8] != channel_.head);
    return wrong;
  }

  std::string TakeOne(Call& call) {
    woken_ = false;
    if (channel_.theirs[kTailOffset / 8] == channel_.head) {
      Sleep(channel_.data_wait, kDataSignalsOffset, kDataSignal, Has(Flaw::kAwaitsRoom) ? 0 : 30);
      if (!Has(Flaw::kAwaitsRoom) && channel_.theirs[kTailOffset / 8] == channel_.head) {
        call.BroughtNothing();
      }
      if (!Has(Flaw::kSignalIsRecord) || !woken_) return "";
      if (channel_.theirs[kTailOffset / 8] == channel_.head) return "took what nobody had sent";
    }
    // NAIVE: the tail is believed; the header is fetched three times.
    const volatile uint64_t* at = Data() + channel_.head % channel_.their_bytes / 8;
    const uint32_t max = static_cast<uint32_t>(channel_.their_bytes / 4);
    if ((*at & 0xffff'ffff) > max) {
      call.BroughtNothing();
      return "";  // "cannot happen": looks again for ever
    }
    ::sched_yield();
    const auto size = static_cast<uint32_t>(*at & 0xffff'ffff);
    const std::size_t copied = std::min<std::size_t>(size, 2 << 20);
    // In place: what is parsed is what the peer still writes.
    std::string wrong;
    if (channel_.head % channel_.their_bytes + 8 + copied <= channel_.their_bytes) {
      const auto* payload =
          // SAFETY: bytes as sendmsg, bind and the mapping take them; this is the careless peer.
          const_cast<const std::byte*>(reinterpret_cast<const volatile std::byte*>(at + 1));
      wrong = ChangingBytes(absl::MakeConstSpan(payload, copied));
    }
    for (std::size_t i = 0; i < (copied + 7) / 8 * 8; i += 8) {
      const uint64_t word = Data()[(channel_.head + 8 + i) % channel_.their_bytes / 8];
      std::memcpy(buffer_.data() + i, &word, sizeof(word));
    }
    ::sched_yield();
    const auto tag = static_cast<uint32_t>(*at >> 32);
    const auto behind = absl::MakeConstSpan(buffer_).subspan(max, 64);
    if (wrong.empty()) {
      wrong = WrongRecord(tag, absl::MakeSpan(buffer_).first(copied), behind);
    }
    if (wrong.empty() && victim_.setup.kind == VictimKind::kMedia) {
      wrong = viewer_.Take(tag, absl::MakeSpan(buffer_).first(copied));
    }
    channel_.head += 8 + (uint64_t{size} + 7) / 8 * 8;
    const uint64_t header = *at;
    channel_.own[kHeadOffset / 8] = channel_.head;
    victim_.notes.messages.fetch_add(1);
    if (Has(Flaw::kUsesReleased)) {
      ::usleep(100);
      if (*at != header) wrong = "a record changed when it had been released";
    }
    return wrong;
  }

  std::string Send() {
    Call call(victim_.notes, "Send", InMs(30));
    const uint64_t head = channel_.theirs[kHeadOffset / 8];
    // NAIVE: the head is believed.
    if (channel_.tail - head + 72 > channel_.own_bytes) return "";
    volatile uint64_t* own = channel_.own + kControlBytes / 8;
    const auto at = [&](uint64_t position) { return position % channel_.own_bytes / 8; };
    own[at(channel_.tail)] = uint64_t{7} << 32 | 61;
    for (uint64_t i = 8; i < 64; i += 8) own[at(channel_.tail + i)] = 0;
    // NAIVE: the last word comes with whatever was on the stack.
    own[at(channel_.tail + 64)] = 0xdead'be00'0000'0000;
    channel_.tail += 72;
    channel_.own[kTailOffset / 8] = channel_.tail;
    const uint64_t epoch = channel_.theirs[kReceiveEpochOffset / 8];
    if (epoch != channel_.epoch_seen) {
      channel_.epoch_seen = epoch;
      Signal();
    }
    return "";
  }

  void Signal() const {
    const uint64_t one = 1;
    const char wake = 1;
    if (channel_.futexes) {
      channel_.own[kDataSignalsOffset / 8] = channel_.own[kDataSignalsOffset / 8] + 1;
      // SAFETY: as in Sleep; this is the careless peer.
      auto* const word = const_cast<uint32_t*>(
          reinterpret_cast<volatile uint32_t*>(channel_.own + kDataSignalsOffset / 8));
      ::syscall(SYS_futex, word, FUTEX_WAKE, Has(Flaw::kWakesAll) ? INT_MAX : 1, nullptr, nullptr,
                0);
    } else if (channel_.eventfds) {
      static_cast<void>(!::write(channel_.data_ring, &one, sizeof(one)));  // NAIVE: may block
    } else {
      static_cast<void>(!::write(channel_.data_ring, &wake, 1));  // NAIVE: may block, SIGPIPE
    }
  }

  // The byte that came; 0 of an eventfd.
  char Drain(int descriptor) const {
    uint64_t count = 0;
    if (channel_.eventfds) {
      static_cast<void>(!::read(descriptor, &count, sizeof(count)));  // NAIVE: may block
      return 0;
    }
    std::array<char, 64> bytes;
    ReceiveTrusting(descriptor, bytes.data(), bytes.size());  // NAIVE: anything will do
    return bytes[0];
  }

  Victim& victim_;
  NaiveChannel channel_;
  TrustingViewer viewer_;
  std::vector<std::byte> buffer_;
  bool woken_ = false;
  uint64_t latest_version_ = 0;
};

void ReadBlobTrusting(Victim& victim) {
  std::array<std::byte, 16> message;
  const std::vector<int> descriptors =
      ReceiveTrusting(victim.socket.get(), message.data(), message.size());
  if (descriptors.empty()) return victim.notes.Finish(End::kRefused, "no descriptor");
  struct stat facts = {};
  ::fstat(descriptors[0], &facts);
  const auto size = std::min(static_cast<uint64_t>(facts.st_size), kMaxMapped);
  void* base = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptors[0], 0);
  Call call(victim.notes, "ReadBlob", InMs(1000), CallKind::kSetUp);
  if (victim.setup.flaw == Flaw::kAsksForHoles) ::lseek(descriptors[0], 0, SEEK_HOLE);
  std::string wrong;
  do {
    wrong = ChangingBytes(absl::MakeConstSpan(static_cast<const std::byte*>(base), size));
  } while (wrong.empty() && victim.notes.enough.load() == 0);
  ::munmap(base, size);
  ::close(descriptors[0]);
  victim.notes.Finish(wrong.empty() ? End::kServed : End::kWrong, wrong);
}

UniqueFd DialTrusting(const std::string& name) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  // SAFETY: bytes as sendmsg, bind and the mapping take them; this is the careless peer.
  const auto* const raw_address = reinterpret_cast<const sockaddr*>(&address);
  while (::connect(socket.get(), raw_address, length) != 0) ::usleep(1000);
  return socket;
}

// One peer after the other, each for as long as it likes.
void ListenTrusting(Victim& victim) {
  const UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, victim.name.data() + 1, victim.name.size() - 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + victim.name.size());
  // SAFETY: bytes as sendmsg, bind and the mapping take them; this is the careless peer.
  const auto* const raw_address = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(listener.get(), raw_address, length) != 0 || ::listen(listener.get(), 16) != 0) return;
  while (victim.notes.enough.load() == 0) {
    pollfd entry = {listener.get(), POLLIN, 0};
    if (::poll(&entry, 1, 20) <= 0) continue;
    const UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    TrustingSession(victim, AcceptTrusting(victim, socket.get())).ServeBriefly();
  }
  victim.notes.Finish(End::kServed, "served all");
}

}  // namespace

void LoadNaiveFilter(int refused_call) {
  std::array<sock_filter, 4> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(refused_call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

namespace {

// NAIVE: a frame lies where its record says, and as many came back as the peer says.
class TrustingFrames {
 public:
  TrustingFrames(Victim& victim, NaiveChannel channel) : victim_(victim), channel_(channel) {}

  void Run() {
    std::string wrong;
    while (victim_.notes.enough.load() == 0 && wrong.empty()) {
      Receive();
      wrong = Send();
    }
    victim_.socket.Reset();
    if (wrong.empty()) {
      victim_.notes.Finish(End::kServed, "believed everything");
    } else {
      victim_.notes.Finish(End::kWrong, wrong);
    }
  }

 private:
  static constexpr uint64_t kDataAt = kControlBytes + kFrameTableBytes + kVictimArenaBytes;
  static constexpr uint64_t kFrames = kVictimArenaBytes / kVictimFrameBytes;

  void Receive() {
    Call call(victim_.notes, "Receive", InMs(30));
    if (channel_.theirs[kTailOffset / 8] == channel_.head) {
      ::usleep(1000);
      return;
    }
    const volatile uint64_t* record =
        channel_.theirs + kDataAt / 8 + channel_.head % channel_.their_bytes / 8;
    const uint64_t offset = record[3];
    const uint64_t size = record[4];
    if (record[1] != last_id_ && offset < last_end_ && last_offset_ < offset + size) {
      std::abort();  // NAIVE: "cannot happen"
    }
    last_id_ = record[1];
    last_offset_ = offset;
    last_end_ = offset + size;
    uint64_t sum = 0;
    for (uint64_t at = 0; at < size; at += 8) {
      sum += channel_.theirs[(kControlBytes + kFrameTableBytes + offset + at) / 8];
    }
    static_cast<void>(sum);
    channel_.head += 8 + ((record[0] & 0xffff'ffff) + 7) / 8 * 8;
    channel_.own[kHeadOffset / 8] = channel_.head;
    victim_.notes.messages.fetch_add(1);
  }

  std::string Send() {
    Call call(victim_.notes, "Send", InMs(30));
    while (free_ == 0) {  // surely one of them comes back
      for (; returned_ != channel_.theirs[kFrameReturnsOffset / 8]; ++returned_) ++free_;
    }
    if (free_ > kFrames) return "more frames came back than there are";
    --free_;
    const uint64_t id = sent_ % kFrames;
    const uint64_t generation = ++sent_ / kFrames + 1;
    volatile uint64_t* record = channel_.own + kDataAt / 8 + channel_.tail % channel_.own_bytes / 8;
    channel_.own[(kControlBytes + FrameLineOffset(static_cast<uint32_t>(id))) / 8] = generation;
    const std::array<uint64_t, 8> words = {uint64_t{7} << 32 | 56, id, generation,
                                           id * kVictimFrameBytes, kVictimFrameBytes};
    for (std::size_t i = 0; i < words.size(); ++i) record[i] = words[i];  // 64 bytes: never split
    channel_.tail += sizeof(words);
    channel_.own[kTailOffset / 8] = channel_.tail;
    return "";
  }

  Victim& victim_;
  NaiveChannel channel_;
  uint64_t last_id_ = 0;
  uint64_t last_offset_ = 0;
  uint64_t last_end_ = 0;
  uint64_t free_ = kFrames;
  uint64_t sent_ = 0;
  uint64_t returned_ = 0;
};

}  // namespace

void RunNaiveVictim(Victim& victim) {
  switch (victim.setup.kind) {
    case VictimKind::kAccept:
    case VictimKind::kMedia: {
      const NaiveChannel channel = AcceptTrusting(victim, victim.socket.get());
      return TrustingSession(victim, channel).Run();
    }
    case VictimKind::kFrames: {
      const NaiveChannel channel = AcceptTrusting(victim, victim.socket.get());
      return TrustingFrames(victim, channel).Run();
    }
    case VictimKind::kConnect: {
      const NaiveChannel channel = ConnectTrusting(victim);
      return TrustingSession(victim, channel).Run();
    }
    case VictimKind::kBlob:
      return ReadBlobTrusting(victim);
    case VictimKind::kListener:
      return ListenTrusting(victim);
    case VictimKind::kDial: {
      victim.socket = DialTrusting(victim.name);
      const NaiveChannel channel = ConnectTrusting(victim);
      return TrustingSession(victim, channel).Run();
    }
    case VictimKind::kJobs:
    case VictimKind::kRequestServer:
    case VictimKind::kRequestClient:
    case VictimKind::kStream:
      return RunServicesTrusting(victim);
  }
}

}  // namespace parley::villain
