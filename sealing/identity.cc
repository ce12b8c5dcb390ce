#include "parley/sealing/identity.h"

#include <utility>

#include "absl/status/status.h"
#include "parley/os/check.h"

namespace parley {

IdentityHold::IdentityHold(IdentityHold&& other) noexcept
    : set_(std::exchange(other.set_, nullptr)), identity_(other.identity_) {}

IdentityHold& IdentityHold::operator=(IdentityHold&& other) noexcept {
  if (this != &other) {
    if (set_ != nullptr) set_->Return(identity_);
    set_ = std::exchange(other.set_, nullptr);
    identity_ = other.identity_;
  }
  return *this;
}

IdentityHold::~IdentityHold() {
  if (set_ != nullptr) set_->Return(identity_);
}

IdentitySet::~IdentitySet() {
  PARLEY_CHECK(size() == 0, "IdentitySet: destroyed before the regions that refer to it");
}

IdentitySet& IdentitySet::OfThisProcess() {
  static auto* const set = new IdentitySet;
  return *set;
}

absl::StatusOr<IdentityHold> IdentitySet::Claim(MemfdIdentity identity) {
  const std::lock_guard lock(mutex_);
  if (held_.contains(identity)) {
    return absl::AlreadyExistsError("this shared memory is in use already, in another role");
  }
  if (held_.size() >= max_entries_) {
    return absl::ResourceExhaustedError("too many shared memory objects are in use");
  }
  held_.insert(identity);
  return IdentityHold(this, identity);
}

size_t IdentitySet::size() const {
  const std::lock_guard lock(mutex_);
  return held_.size();
}

void IdentitySet::Return(MemfdIdentity identity) {
  const std::lock_guard lock(mutex_);
  held_.erase(identity);
}

}  // namespace parley
