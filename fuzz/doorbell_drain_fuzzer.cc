// SPDX-License-Identifier: Apache-2.0

// Attacks a doorbell, each kind, with everything that a peer can do to its end: ring too much,
// send rubbish, empty messages and descriptors, read ours, clear O_NONBLOCK, shut down, close,
// write any count into the word that we sleep on. No call waits (libFuzzer's timeout sees it),
// nothing is installed, and a list of what was sent says what Drain must answer.
//
// Input: the kind, then steps: one byte each, followed by what it needs.

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/fuzz/descriptor_fixtures.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/os/check.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/scripted_memory.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/eventfd.h"
#include "parley/wait/eventfd_doorbell.h"
#include "parley/wait/futex_doorbell.h"
#include "parley/wait/layout.h"
#include "parley/wait/local_wake.h"
#include "parley/wait/socket_doorbell.h"

namespace parley::fuzz {
namespace {

using testing::Script;
using Drained = Doorbell::Drained;

constexpr int kMaxSteps = 60;
constexpr std::size_t kPageBytes = 4096;

class SocketRun {
 public:
  SocketRun(Script script, bool refuse_rights) : script_(script) {
    std::array<int, 2> ends;
    PARLEY_CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0, "pair");
    own_.Reset(ends[0]);
    peer_.Reset(ends[1]);
    // As on Linux from 6.16 on, and as before that.
    refuses_rights_ = refuse_rights && RefuseRights(own_.get());
    auto made = MakeSocketDoorbells(own_.get(), true, true);
    PARLEY_CHECK(made.ok(), "eventfds");
    ends_ = *std::move(made);
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) Step();
    for (int i = 0; i < 3; ++i) Drain();
  }

 private:
  void Step() {
    switch (script_.Take8() % 10) {
      case 0:
        return Send({1});
      case 1:
        return Send({script_.Take8()});
      case 2: {
        std::vector<uint8_t> bytes(script_.Take8());
        for (uint8_t& b : bytes) b = 1;
        return Send(bytes);
      }
      case 3:
        for (int i = script_.Take8(); i > 0; --i) Send({1});
        return;
      case 4:
        return SendDescriptor();
      case 5:
        if (peer_.ok()) {
          char byte = 0;
          while (::recv(peer_.get(), &byte, 1, MSG_DONTWAIT) == 1) unread_ = false;
        }
        return;
      case 6:
        if (!peer_.ok() || write_end_shut_) return;
        ::shutdown(peer_.get(), SHUT_WR);
        write_end_shut_ = true;
        return;
      case 7:
        peer_.Reset();
        return;
      case 8:
        for (int i = script_.Take8() * 4; i >= 0; --i) ends_.send->Signal();
        unread_ = peer_.ok();
        return;
      default:
        return Drain();
    }
  }

  void Send(const std::vector<uint8_t>& bytes) {
    if (!peer_.ok() || write_end_shut_) return;
    const auto sent = ::send(peer_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) arriving_.push_back(bytes);
  }
  void SendDescriptor() {
    const UniqueFd fd = MakeDescriptor(script_, 4096);
    if (!peer_.ok() || write_end_shut_) return;
    char byte = 1;
    iovec data = {&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
    msghdr header = {};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd.get();
    std::memcpy(CMSG_DATA(c), &number, sizeof(int));
    if (::sendmsg(peer_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) {
      arriving_.push_back(descriptor_message_);
    }
  }

  // What the receiver's Drain says of what has arrived; it takes eight messages at most. Signals of
  // free space go to the sender, which has one pending from then on.
  Drained Expected() {
    bool data = data_pending_;
    data_pending_ = false;
    bool space = false;
    int taken = 0;
    Drained end = Drained::kQuiet;
    while (taken < 8) {
      if (arriving_.empty()) {
        if (!peer_.ok() || write_end_shut_) end = Drained::kPeerGone;
        break;
      }
      const std::vector<uint8_t> message = arriving_.front();
      if (message == descriptor_message_) {  // stays where it is
        end = Drained::kUnexpected;
        break;
      }
      arriving_.pop_front();
      if (message.empty()) {
        end = Drained::kPeerGone;
        break;
      }
      ++taken;
      if (message == std::vector<uint8_t>{1}) {
        data = true;
      } else if (message == std::vector<uint8_t>{2}) {
        space = true;
      } else {
        end = Drained::kUnexpected;
        break;
      }
    }
    const bool redundant = space_pending_;
    if (space || taken >= 2) space_pending_ = true;
    if (end != Drained::kQuiet) return end;
    if (data) return Drained::kSignalled;
    return space && redundant ? Drained::kRedundant : Drained::kQuiet;
  }
  void Drain() {
    const Drained answer = ends_.receive->Drain();
    // A peer that closed with our signals unread resets the connection: its end is told at once,
    // before what it had sent.
    // (A look before the receive takes note of the reset.)
    if (unread_ && !peer_.ok() && refuses_rights_) {
      PARLEY_CHECK(answer == Drained::kPeerGone, "a reset that is not the peer's end");
      unread_ = false;
      data_pending_ = false;
      return;
    }
    PARLEY_CHECK(answer == Expected(), "another answer than what was sent calls for");
    PARLEY_CHECK(ends_.send->wake().Has(internal::LocalWake::kSignal) == space_pending_,
                 "a signal for the other end was lost, or made up");
  }

  // Stands for one with a descriptor: nothing that Send sends is as long.
  const std::vector<uint8_t> descriptor_message_ = std::vector<uint8_t>(1000);

  Script script_;
  UniqueFd own_;
  SocketDoorbells ends_;
  UniqueFd peer_;
  std::deque<std::vector<uint8_t>> arriving_;
  bool refuses_rights_ = false;
  bool write_end_shut_ = false;
  bool unread_ = false;  // we signalled, and the peer has not read it
  bool data_pending_ = false;
  bool space_pending_ = false;
};

class EventfdRun {
 public:
  explicit EventfdRun(Script script) : script_(script) {
    auto wait = CreateEventfd();
    auto ring = CreateEventfd();
    PARLEY_CHECK(wait.ok() && ring.ok(), "eventfds");
    PARLEY_CHECK(VerifyEventfd(wait->get()).ok() && VerifyEventfd(ring->get()).ok(), "eventfds");
    // The peer has the same open file descriptions.
    peer_signals_.Reset(::fcntl(wait->get(), F_DUPFD_CLOEXEC, 3));
    peer_waits_.Reset(::fcntl(ring->get(), F_DUPFD_CLOEXEC, 3));
    doorbell_ = MakeEventfdDoorbell(*std::move(wait), *std::move(ring));
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) Step();
    Drain();
    Drain();
  }

 private:
  void Step() {
    switch (script_.Take8() % 7) {
      case 0:
        return Add(1);
      case 1:
        return Add(script_.Take64());
      case 2:
        return Add(~uint64_t{1} - count_);  // saturated
      case 3: {                             // steals our wake-ups
        uint64_t count = 0;
        ::fcntl(peer_signals_.get(), F_SETFL, O_NONBLOCK);
        if (::read(peer_signals_.get(), &count, 8) == 8) count_ = 0;
        return;
      }
      case 4:  // only on the one that we drain: what is documented as open stays untried
        ::fcntl(peer_signals_.get(), F_SETFL, script_.Take8() % 2 == 0 ? 0 : O_NONBLOCK);
        return;
      case 5:
        for (int i = script_.Take8(); i > 0; --i) doorbell_->Signal();
        return;
      case 6:
        return Drain();
    }
  }
  void Add(uint64_t value) {
    if (value == ~uint64_t{0} || value == 0 || value > ~uint64_t{1} - count_) return;
    if (::write(peer_signals_.get(), &value, 8) == 8) count_ += value;
  }
  void Drain() {
    const Drained expected = count_ != 0 ? Drained::kSignalled : Drained::kQuiet;
    PARLEY_CHECK(doorbell_->Drain() == expected, "another answer than the counter calls for");
    count_ = 0;
  }

  Script script_;
  std::unique_ptr<Doorbell> doorbell_;
  UniqueFd peer_signals_;
  UniqueFd peer_waits_;
  uint64_t count_ = 0;
};

// The words are on the heap, exactly as many as there are, so that the address sanitizer sees each
// access beside them.
class FutexRun {
 public:
  explicit FutexRun(Script script)
      : script_(script),
        ours_(kPageBytes / 8),
        theirs_(kPageBytes / 8),
        sends_(script_.Take8() % 2 == 0),
        doorbell_(sends_ ? MakeSendersFutexDoorbell(Own(ours_), Peer(theirs_))
                         : MakeReceiversFutexDoorbell(Own(ours_), Peer(theirs_))) {
    PARLEY_CHECK(!doorbell_->can_be_polled() && doorbell_->descriptor() == -1, "a futex doorbell");
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) Step();
    Sleep();
    // We count in one word, whatever the peer has made of it, and write no other.
    for (std::size_t i = 0; i < ours_.size(); ++i) {
      const bool word = i == (sends_ ? kDataSignalsOffset : kSpaceSignalsOffset) / 8;
      PARLEY_CHECK(ours_[i] == (word ? shown_ : 0), "another word than our count");
    }
  }

 private:
  static OwnMemory Own(std::vector<uint64_t>& words) {
    // SAFETY: words as bytes.
    return OwnMemory(reinterpret_cast<std::byte*>(words.data()), words.size() * 8);
  }
  static PeerMemory Peer(const std::vector<uint64_t>& words) {
    // SAFETY: words as bytes.
    return PeerMemory(reinterpret_cast<const std::byte*>(words.data()), words.size() * 8);
  }
  uint64_t& SleptOn() { return theirs_[(sends_ ? kSpaceSignalsOffset : kDataSignalsOffset) / 8]; }

  void Step() {
    switch (script_.Take8() % 8) {
      case 0:  // rings
        ++SleptOn();
        return;
      case 1:
        SleptOn() = script_.Take64();
        return;
      case 2:  // another word of its page
        theirs_[script_.Take8() % theirs_.size()] = script_.Take64();
        return;
      case 3:  // through a writable mapping of ours that it kept
        shown_ = script_.Take64();
        ours_[(sends_ ? kDataSignalsOffset : kSpaceSignalsOffset) / 8] = shown_;
        return;
      case 4:
        for (int i = script_.Take8(); i > 0; --i) {
          doorbell_->Signal();
          shown_ = ++rings_;
        }
        return;
      case 5:
        doorbell_->Prepare();
        heard_ = static_cast<uint32_t>(SleptOn());
        return;
      case 6:
        return Sleep();
      case 7:
        PARLEY_CHECK(doorbell_->Drain() == (slept_ ? Drained::kSignalled : Drained::kQuiet),
                     "something else to drain than the last sleep says");
        return;
    }
  }
  // With a deadline that has passed: nobody wakes us, so it is the word alone that tells.
  void Sleep() {
    slept_ = static_cast<uint32_t>(SleptOn()) != heard_;
    PARLEY_CHECK(doorbell_->Sleep(Deadline::AtMonotonicNs(0)) == slept_,
                 "slept in spite of a signal, or woke without one");
  }

  Script script_;
  std::vector<uint64_t> ours_;
  std::vector<uint64_t> theirs_;
  const bool sends_;
  std::unique_ptr<Doorbell> doorbell_;
  uint64_t rings_ = 0;
  uint64_t shown_ = 0;  // by our word: the last one who wrote it
  uint32_t heard_ = 0;
  bool slept_ = false;  // the last sleep ended otherwise than by its deadline
};

// VerifyEventfd admits plain eventfds and nothing else.
bool SaysWhetherItIsASemaphore(int eventfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(eventfd));
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("eventfd-semaphore:")) return true;
  }
  return false;
}

void Verify(Script script) {
  Script again = script;
  const int kind = again.Take8() % 26;
  const bool is_eventfd = kind == 0;
  const UniqueFd fd = MakeDescriptor(script, 4096);
  const absl::Status status = VerifyEventfd(fd.get());
  if (is_eventfd) PARLEY_CHECK(status.ok(), "a plain eventfd was refused");
  // Before Linux 6.6 nothing says that it is a semaphore; its drain is bounded all the same.
  if (kind == 1 && !SaysWhetherItIsASemaphore(fd.get())) return;
  if (status.ok()) {
    // What is admitted is emptied by one read.
    const uint64_t three = 3;
    uint64_t got = 0;
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    PARLEY_CHECK(::write(fd.get(), &three, 8) == 8 && ::read(fd.get(), &got, 8) == 8 && got >= 3,
                 "no plain eventfd was admitted");
  }
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  parley::testing::Script script(data, size);
  fuzz::LeavesNothingAfterDisposal([&] {
    const uint8_t kind = script.Take8();
    switch (kind % 4) {
      case 0:
        return fuzz::SocketRun(script, kind >= 128).Everything();
      case 1:
        return fuzz::EventfdRun(script).Everything();
      case 2:
        return fuzz::Verify(script);
      case 3:
        return fuzz::FutexRun(script).Everything();
    }
  });
  return 0;
}
