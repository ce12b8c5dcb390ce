// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_MEMORY_GROUP_H_
#define PARLEY_SANDBOX_MEMORY_GROUP_H_

// A memory control group with a limit, of either version of the kernel's interface, below the group
// that this process is in, so that whatever bounds us bounds it as well: for what a process has
// resident, where RLIMIT_AS bounds what it has mapped. Making one takes the right to (root, or a
// group that was delegated to us).
//
// A process that goes beyond is killed by the kernel, and the group counts it. What a process has
// allocated before it was moved there stays where it was. A move waits for the kernel's readers:
// up to tens of milliseconds.
//
// Trust: a process in it cannot change it, unless it may write to the group's files.
// Threads: one at a time.
//
//   auto group = MemoryGroup::Create("4711-0-peer", 16 << 20);
//   if (group.ok()) status = group->Add(worker.pid());

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace parley {

class MemoryGroup {
 public:
  // kFailedPrecondition: this machine has no memory groups that we may make.
  static absl::StatusOr<MemoryGroup> Create(const std::string& tag, int64_t limit_bytes);
  MemoryGroup(MemoryGroup&& other) noexcept;
  MemoryGroup& operator=(MemoryGroup&&) = delete;
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  // Removes it, or where a process is in it still: leaves that to the next group of this process
  // that is made or removed, or to its exit, which waits 200 ms for that at most. Never waits.
  ~MemoryGroup();

  // Moves a process with all its threads into it.
  absl::Status Add(pid_t pid) const;
  // The same of the calling one.
  absl::Status Enter() const;
  absl::Status SetLimit(int64_t limit_bytes) const;
  // In bytes.
  int64_t Usage() const;
  int64_t Peak() const;
  // How often something had to be reclaimed or refused at the limit, and how many processes the
  // kernel killed for it.
  int64_t AtLimit() const;
  int64_t Kills() const;

 private:
  MemoryGroup(std::string path, bool version_2) : path_(std::move(path)), version_2_(version_2) {}
  int64_t Read(const char* name, const std::string& field) const;
  std::string path_;
  bool version_2_;
};

// Where groups can be made here, or why not.
absl::StatusOr<std::string> MemoryGroupParent(bool* version_2);
// Removes groups with such tags that were left behind by processes that were killed.
void RemoveMemoryGroups(const std::string& tag_prefix);

}  // namespace parley

#endif  // PARLEY_SANDBOX_MEMORY_GROUP_H_
