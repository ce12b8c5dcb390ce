// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_FILE_REGISTRY_H_
#define PARLEY_SEALING_FILE_REGISTRY_H_

// Which file a descriptor means, so that one memory object never gets two roles.
//
// Trust: a peer that hands over the same memfd twice, or one of our own from another channel, makes
// us read our own bytes as its words. A process keeps one FileRegistry for all the memory it holds
// and claims each object before using it; the second claim fails. What several parts of a process
// only read, each for itself (a broadcast region), they claim as readers: that is one role.
// Threads: FileRegistry: any. FileClaim: one at a time. The set outlives its holds.
//
//   absl::StatusOr<FileClaim> hold = held.Claim(identity);
//   if (!hold.ok()) return hold.status();  // kAlreadyExists: the peer sent it twice

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

#include "absl/status/statusor.h"

namespace parley {

struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;
  auto operator<=>(const FileId&) const = default;
};

class FileRegistry;

// One claim; gives the identity back when destroyed. A default-constructed or moved-from one holds
// nothing.
class FileClaim {
 public:
  FileClaim() = default;
  FileClaim(FileClaim&& other) noexcept;
  FileClaim& operator=(FileClaim&& other) noexcept;
  ~FileClaim();

 private:
  friend class FileRegistry;
  FileClaim(FileRegistry* set, FileId identity) : set_(set), identity_(identity) {}
  FileRegistry* set_ = nullptr;
  FileId identity_;
};

class FileRegistry {
 public:
  static constexpr size_t kDefaultMaxEntries = 65536;

  explicit FileRegistry(size_t max_entries = kDefaultMaxEntries) : max_entries_(max_entries) {}
  FileRegistry(const FileRegistry&) = delete;
  FileRegistry& operator=(const FileRegistry&) = delete;
  // The holds refer to this set: destroying it before them is the caller's bug and aborts.
  ~FileRegistry();

  // The set of this whole process; never destroyed. Both ends of one channel in one process need
  // two sets of their own instead: there the same memory rightly has two roles.
  static FileRegistry& OfThisProcess();

  // kAlreadyExists if someone holds it, kResourceExhausted beyond `max_entries`.
  absl::StatusOr<FileClaim> Claim(FileId identity);
  // The same, but others may hold it as readers as well.
  absl::StatusOr<FileClaim> ClaimAsReader(FileId identity);

  size_t size() const;

 private:
  friend class FileClaim;
  absl::StatusOr<FileClaim> ClaimAs(FileId identity, bool reader);
  void Return(FileId identity);

  const size_t max_entries_;
  mutable std::mutex mutex_;
  std::map<FileId, uint64_t> held_;  // by how many readers; 0: by one alone. Guarded by mutex_
};

}  // namespace parley

#endif  // PARLEY_SEALING_FILE_REGISTRY_H_
