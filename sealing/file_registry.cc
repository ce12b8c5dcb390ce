// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/file_registry.h"

#include <utility>

#include "absl/status/status.h"
#include "parley/os/check.h"

namespace parley {

FileClaim::FileClaim(FileClaim&& other) noexcept
    : set_(std::exchange(other.set_, nullptr)), identity_(other.identity_) {}

FileClaim& FileClaim::operator=(FileClaim&& other) noexcept {
  if (this != &other) {
    if (set_ != nullptr) set_->Return(identity_);
    set_ = std::exchange(other.set_, nullptr);
    identity_ = other.identity_;
  }
  return *this;
}

FileClaim::~FileClaim() {
  if (set_ != nullptr) set_->Return(identity_);
}

FileRegistry::~FileRegistry() {
  PARLEY_CHECK(size() == 0, "FileRegistry: destroyed before the regions that refer to it");
}

FileRegistry& FileRegistry::OfThisProcess() {
  static auto* const set = new FileRegistry;
  return *set;
}

absl::StatusOr<FileClaim> FileRegistry::Claim(FileId identity) {
  return ClaimAs(identity, /*reader=*/false);
}

absl::StatusOr<FileClaim> FileRegistry::ClaimAsReader(FileId identity) {
  return ClaimAs(identity, /*reader=*/true);
}

absl::StatusOr<FileClaim> FileRegistry::ClaimAs(FileId identity, bool reader) {
  const std::lock_guard lock(mutex_);
  const auto held = held_.find(identity);
  if (held == held_.end()) {
    if (held_.size() >= max_entries_) {
      return absl::ResourceExhaustedError("too many shared memory objects are in use");
    }
    held_.emplace(identity, reader ? 1 : 0);
    return FileClaim(this, identity);
  }
  if (!reader || held->second == 0) {
    return absl::AlreadyExistsError(
        "this process has this shared memory mapped already: the peer sent one file twice, or both "
        "ends are in this process (then give one of them a FileRegistry of its own)");
  }
  ++held->second;
  return FileClaim(this, identity);
}

size_t FileRegistry::size() const {
  const std::lock_guard lock(mutex_);
  return held_.size();
}

void FileRegistry::Return(FileId identity) {
  const std::lock_guard lock(mutex_);
  const auto held = held_.find(identity);
  if (held->second > 1) {
    --held->second;
  } else {
    held_.erase(held);
  }
}

}  // namespace parley
