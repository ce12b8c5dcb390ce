// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_UNIQUE_FD_H_
#define PARLEY_OS_UNIQUE_FD_H_

// The only owner of one descriptor: closed once, on every path, and never 0, 1 or 2.
//
// A program that was started with its standard descriptors closed (`program 2>&-`) gets their
// numbers for whatever it opens next, and its next log line goes there: into a channel's socket, or
// over the first words of a region. So what is handed to a UniqueFd below kFirst is moved to kFirst
// or above before anything else is done with it, and the low number is closed. Every descriptor
// that Parley makes or receives gets its UniqueFd where it is made (`./dev lint`: descriptor).
// Where no higher number is to be had, ok() is false and errno says so, as for the call that made
// it.
//
// Trust: closing a descriptor that a peer chose can hang for ever (a FUSE file whose daemon is the
// peer), which is why the accepting side never installs one; see handshake/peer_socket.h.
// Threads: one at a time; move it to hand it over.
//
//   UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
//   if (!fd.ok()) return ErrnoStatus(errno, "eventfd");

#include "parley/os/platform.h"

namespace parley {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd < kFirst && fd >= 0 ? Raised(fd) : fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  bool ok() const { return fd_ >= 0; }
  // The descriptor, still owned here; -1 where there is none.
  int get() const { return fd_; }
  // Gives up ownership; the caller closes it.
  [[nodiscard]] int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  // Closes the present descriptor, if any, and takes `fd`. errno is kept, unless `fd` had to be
  // moved and could not be.
  void Reset(int fd = -1);

  static constexpr int kFirst = 3;

 private:
  static int Raised(int fd);

  int fd_ = -1;
};

}  // namespace parley

#endif  // PARLEY_OS_UNIQUE_FD_H_
