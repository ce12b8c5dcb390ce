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
  const std::lock_guard lock(mutex_);
  if (held_.contains(identity)) {
    return absl::AlreadyExistsError(
        "this process has this shared memory mapped already: the peer sent one file twice, or both "
        "ends are in this process (then give one of them a FileRegistry of its own)");
  }
  if (held_.size() >= max_entries_) {
    return absl::ResourceExhaustedError("too many shared memory objects are in use");
  }
  held_.insert(identity);
  return FileClaim(this, identity);
}

size_t FileRegistry::size() const {
  const std::lock_guard lock(mutex_);
  return held_.size();
}

void FileRegistry::Return(FileId identity) {
  const std::lock_guard lock(mutex_);
  held_.erase(identity);
}

}  // namespace parley
