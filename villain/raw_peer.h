// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_RAW_PEER_H_
#define PARLEY_VILLAIN_RAW_PEER_H_

// A peer that speaks the handshake with bare hands: no check, no seal and no order that it does not
// choose itself. Its mappings are the attacker's own.
//
// Trust: this *is* the hostile peer.
// Threads: as careless as the attack wants.
//
//   RawPeer peer = RawPeer::Connect(attacker);
//   peer.own[kTailOffset / 8] = ~uint64_t{0};

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "parley/handshake/peer_socket.h"
#include "parley/handshake/wire.h"
#include "parley/os/unique_fd.h"
#include "parley/villain/case.h"

namespace parley::villain {

// Words of a mapping that the attacker stores to and loads from, one at a time.
class Words {
 public:
  Words() = default;
  Words(uint64_t* base, std::size_t size_bytes) : base_(base), count_(size_bytes / 8) {}
  std::size_t size_bytes() const { return count_ * 8; }
  void Store(std::size_t offset_bytes, uint64_t value) const {
    // PAIRS WITH: PeerMemory::LoadAcquire64 in the victim.
    __atomic_store_n(base_ + offset_bytes / 8, value, __ATOMIC_RELEASE);
  }
  uint64_t Load(std::size_t offset_bytes) const {
    // PAIRS WITH: OwnMemory::StoreRelease64 in the victim.
    return __atomic_load_n(base_ + offset_bytes / 8, __ATOMIC_ACQUIRE);
  }
  void* address() const { return base_; }

 private:
  uint64_t* base_ = nullptr;
  std::size_t count_ = 0;
};

Hello HonestHello();
// {payload size, tag} as a record's first word.
constexpr uint64_t RecordWord(uint32_t size_bytes, uint32_t tag) {
  return uint64_t{tag} << 32 | size_bytes;
}
// A tag that tells a victim which size its record must have.
constexpr uint32_t TagForSize(uint32_t size_bytes) { return 0x5a00'0000u | size_bytes; }

struct RawPeer {
  // What it does in place of the honest step; each may be empty.
  struct Plan {
    Hello hello = HonestHello();
    std::function<void(int socket)> send_hello;
    // Where there is no Welcome; does not return.
    std::function<void(const std::string& why)> refused;
    bool say_accepted = true;
    bool seal = true;
    bool say_mapped = true;
    std::function<void(RawPeer&)> before_seal;
    std::function<void(RawPeer&)> before_mapped;
  };
  // The connecting side of a handshake with an accepting victim. Ends this process, with the reason
  // in the notes, if the victim does not play.
  static RawPeer Connect(Attacker& attacker, const Plan& plan);
  static RawPeer Connect(Attacker& attacker);

  PeerSocket socket;
  Welcome welcome;
  std::vector<UniqueFd> descriptors;  // as received: victim's region, own region, doorbells
  Words own;                          // our region: control page, arena, then data
  Words theirs;                       // the victim's, read-only
  int data_doorbell = -1;             // rung when there is data for the victim; -1: futexes
  int space_doorbell = -1;            // rung when there is room

  Words Data() const;
  // The table and the frames, where there are any.
  Words Arena() const;
  Words TheirData() const;
  // Takes all that the victim has sent, unseen.
  void Drain() const;
  void RingData() const;  // a socket doorbell
  void RingBoth() const;
  // Publishes one record at the start of an untouched ring.
  void Publish(uint64_t header, uint64_t tail) const;
};

// Steps of the accepting side against a connecting victim.
struct RawHost {
  PeerSocket socket;
  Hello hello;
  Welcome welcome;
  // Region for the victim to read, region for it to write.
  std::vector<UniqueFd> descriptors;
  Words own;     // the region that the victim reads
  Words theirs;  // the region that the victim writes

  // Receives the Hello and makes everything as an honest accepting side does. `usual`: where the
  // victim leaves the choice.
  static RawHost Prepare(Attacker& attacker, const DirectionSpec& usual);
  static RawHost Prepare(Attacker& attacker);
  // Sends the Welcome, and the descriptors without waiting for an answer; false if the victim is
  // gone.
  bool SendWelcome() const;
  // Awaits "accepted" and "mapped" and says "ready"; false if the victim refused.
  bool Finish();
};

inline constexpr uint64_t kRingBytes = 8192;

// The bytes of a socket doorbell.
inline constexpr char kDataSignal = 1;
inline constexpr char kSpaceSignal = 2;

// A memfd of `size_bytes` with all its pages unless `sparse`, and `seals`.
UniqueFd MakeMemfd(uint64_t size_bytes, unsigned seals, bool sparse = false, unsigned flags = 0);
// Maps all of it; CannotMount if that fails.
Words MapShared(Attacker& attacker, int fd, std::size_t size_bytes, bool writable);
// A connection to the listening victim, for as long as there may be one.
UniqueFd Dial(const Attacker& attacker);
// One message with descriptors, any number of them, by bare sendmsg; false if it was not sent.
bool SendRaw(int socket, const void* bytes, std::size_t size, const std::vector<int>& descriptors);

// Tries all that one who may only read a finished file can do to it; what must not have worked is a
// leak. `mapped`: its first page at least, read-only.
void PullAt(Attacker& attacker, int fd, const Words& mapped);

// Whether a child of ours now holds the lock of the file's inode, until it is killed.
bool TryToHoldInodeLock(int fd);

// A page that no access to ever comes back from, made by a userfaultfd that nobody serves; nullptr
// if there is none. Needs HasUserfaultfd.
void* PageThatNeverComes();
std::string HasUserfaultfd();

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_RAW_PEER_H_
