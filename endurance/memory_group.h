// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_MEMORY_GROUP_H_
#define PARLEY_ENDURANCE_MEMORY_GROUP_H_

// A memory control group with a limit, of either version of the kernel's interface, below the group
// that this process is in, so that whatever bounds us bounds it as well.
//
//   auto group = MemoryGroup::Create("4711-0-peer", 16 << 20);
//   ... in a child: group->Enter() ...

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace parley::endurance {

class MemoryGroup {
 public:
  // kFailedPrecondition: this machine has no memory groups that we may make.
  static absl::StatusOr<MemoryGroup> Create(const std::string& tag, int64_t limit_bytes);
  MemoryGroup(MemoryGroup&& other) noexcept;
  MemoryGroup(const MemoryGroup&) = delete;
  // Removes it, once no process is in it any more.
  ~MemoryGroup();

  // Moves the calling process into it. What it had allocated stays where it was.
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
// Removes groups that were left behind by lanes that were killed.
void RemoveMemoryGroups(const std::string& tag_prefix);

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_MEMORY_GROUP_H_
