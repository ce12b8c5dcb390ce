#ifndef PARLEY_SEALING_IDENTITY_H_
#define PARLEY_SEALING_IDENTITY_H_

// Which file a descriptor means, so that one memory object never gets two roles.
//
// Trust: a peer that hands over the same memfd twice, or one of our own from another channel, makes
// us read our own bytes as its words. A process keeps one IdentitySet for all the memory it holds
// and claims each object before using it; the second claim fails.
// Threads: IdentitySet: any. IdentityHold: one at a time. The set outlives its holds.
//
//   absl::StatusOr<IdentityHold> hold = held.Claim(identity);
//   if (!hold.ok()) return hold.status();  // kAlreadyExists: the peer sent it twice

#include <compare>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>

#include "absl/status/statusor.h"

namespace parley {

struct MemfdIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  auto operator<=>(const MemfdIdentity&) const = default;
};

class IdentitySet;

// One claim; gives the identity back when destroyed. A default-constructed or moved-from one holds
// nothing.
class IdentityHold {
 public:
  IdentityHold() = default;
  IdentityHold(IdentityHold&& other) noexcept;
  IdentityHold& operator=(IdentityHold&& other) noexcept;
  ~IdentityHold();

 private:
  friend class IdentitySet;
  IdentityHold(IdentitySet* set, MemfdIdentity identity) : set_(set), identity_(identity) {}
  IdentitySet* set_ = nullptr;
  MemfdIdentity identity_;
};

class IdentitySet {
 public:
  static constexpr size_t kDefaultMaxEntries = 65536;

  explicit IdentitySet(size_t max_entries = kDefaultMaxEntries) : max_entries_(max_entries) {}
  IdentitySet(const IdentitySet&) = delete;
  IdentitySet& operator=(const IdentitySet&) = delete;
  // The holds refer to this set: destroying it before them is the caller's bug and aborts.
  ~IdentitySet();

  // The set of this whole process; never destroyed. Both ends of one channel in one process need
  // two sets of their own instead: there the same memory rightly has two roles.
  static IdentitySet& OfThisProcess();

  // kAlreadyExists if someone holds it, kResourceExhausted beyond `max_entries`.
  absl::StatusOr<IdentityHold> Claim(MemfdIdentity identity);

  size_t size() const;

 private:
  friend class IdentityHold;
  void Return(MemfdIdentity identity);

  const size_t max_entries_;
  mutable std::mutex mutex_;
  std::set<MemfdIdentity> held_;  // guarded by mutex_
};

}  // namespace parley

#endif  // PARLEY_SEALING_IDENTITY_H_
