#ifndef PARLEY_OS_UNIQUE_FD_H_
#define PARLEY_OS_UNIQUE_FD_H_

// The only owner of one descriptor: closed once, on every path.
//
// Trust: closing a descriptor that a peer chose can hang for ever (a FUSE file whose daemon is the
// peer), which is why the accepting side never installs one; see handshake/peer_socket.h.
// Threads: one at a time; move it to hand it over.
//
//   UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
//   if (!fd.ok()) return ErrnoStatus(errno, "eventfd");

namespace parley {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
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
  // Closes the present descriptor, if any, and takes `fd`. errno is kept.
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

}  // namespace parley

#endif  // PARLEY_OS_UNIQUE_FD_H_
