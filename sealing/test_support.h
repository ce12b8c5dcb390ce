// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_TEST_SUPPORT_H_
#define PARLEY_SEALING_TEST_SUPPORT_H_

// What the tests of sealing/ and shm/ share: hostile processes, and a count of what was left
// behind.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "parley/os/unique_fd.h"

namespace parley::testing_support {

// Runs `body` in a forked process, by itself, and says how that ended: "ok" (it returned and no
// EXPECT in it failed), "failed", "signal 11", or "wedged" after ten seconds.
std::string RunInChild(const std::function<void()>& body);

// Descriptors and mappings of this process.
struct Footprint {
  int descriptors = 0;
  int memfd_mappings = 0;
  int mappings = 0;
};
Footprint FootprintNow();

// Of this process's mappings of memfds: what is mapped as huge pages, and what is mapped at all, so
// that no access waits for a page.
uint64_t HugeMappedBytes();
uint64_t MappedBytes();

// Runs `body` often enough for a leak to stand out from what malloc maps; "nothing" or what leaked.
std::string LeakOf(const std::function<void()>& body);

// An unsealed memfd of this size, without any page, made without Parley.
UniqueFd RawMemfd(size_t size_bytes, unsigned extra_flags = 0);
// Writes one byte to each page, so that all exist.
void FillRaw(int fd, size_t size_bytes);
void SealRaw(int fd, unsigned seals);

// A process that keeps the inode of a memfd locked: it writes to it from a page that its own
// userfaultfd never delivers. ok() is false where this system gives us no userfaultfd.
class InodeLockHolder {
 public:
  explicit InodeLockHolder(int fd);
  ~InodeLockHolder() { Stop(); }
  InodeLockHolder(const InodeLockHolder&) = delete;
  InodeLockHolder& operator=(const InodeLockHolder&) = delete;

  bool ok() const { return ok_; }
  void Stop();

 private:
  pid_t pid_ = -1;
  bool ok_ = false;
};

// In this process, for good: the system call `number` fails with EINVAL where its argument
// `argument` (counted from 0) has one of `bits`. An old kernel, for a child to try.
void RefuseSystemCall(long number, int argument, unsigned bits);
// The same for each call of `number`, with `error`: what this machine can't be made to run out of.
void FailSystemCall(long number, int error);
// The same where the low half of its argument `argument` (counted from 0) is `value`.
void FailSystemCallWhere(long number, int argument, uint32_t value, int error);

}  // namespace parley::testing_support

#endif  // PARLEY_SEALING_TEST_SUPPORT_H_
