// SPDX-License-Identifier: Apache-2.0
#include "parley/fuzz/descriptor_fixtures.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "parley/os/check.h"
#include "parley/sealing/seal_shared.h"
#include "parley/sealing/seals.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace parley::fuzz {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMaxBytes = uint64_t{1} << 20;

UniqueFd SocketEnd(int type) {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) != 0) return UniqueFd();
  ::close(ends[1]);
  return UniqueFd(ends[0]);
}

UniqueFd ListeningSocket() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // SAFETY: the sockets API takes every address family through this type. Only the family: the
  // kernel picks an abstract name.
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)) != 0 ||
      ::listen(socket.get(), 1) != 0) {
    return UniqueFd();
  }
  return socket;
}

UniqueFd PipeEnd(bool for_writing) {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return UniqueFd();
  ::close(ends[for_writing ? 0 : 1]);
  return UniqueFd(ends[for_writing ? 1 : 0]);
}

uint64_t SizeNear(testing::Script& script, uint64_t file_bytes) {
  switch (script.Take8() % 10) {
    case 0:
    case 1:
    case 2:
      return file_bytes;
    case 3:
      return file_bytes - 1;
    case 4:
      return file_bytes + 1;
    case 5:
      return file_bytes - kPage;
    case 6:
      return file_bytes + kPage;
    case 7:
      return 0;
    case 8:
      return script.Take16();
    default:
      return 2 * file_bytes;
  }
}

unsigned SealsOf(testing::Script& script) {
  switch (script.Take8() % 6) {
    case 0:
    case 1:
      return kRegionSeals;
    case 2:
      return kBlobSeals;
    case 3:
      return kShapeSeals;
    default:
      return script.Take8() & 0x1f;
  }
}

}  // namespace

ForeignMemfd MakeMemfd(testing::Script& script, uint64_t file_bytes) {
  const uint8_t kind = script.Take8() % 16;
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (kind == 1) flags |= MFD_NOEXEC_SEAL;
  if (kind == 2) flags = MFD_CLOEXEC;  // sealed against seals
  ForeignMemfd result;
  if (kind == 3) {
    result.fd.Reset(::memfd_create("foreign", flags | MFD_HUGETLB));
    result.huge_pages = result.fd.ok();
  }
  if (!result.fd.ok()) result.fd.Reset(::memfd_create("foreign", flags));
  if (!result.fd.ok()) result.fd.Reset(::memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  PARLEY_CHECK(result.fd.ok(), "memfd_create");
  const int fd = result.fd.get();

  result.size_bytes = std::min(SizeNear(script, file_bytes), kMaxBytes);
  if (result.huge_pages) result.size_bytes = (result.size_bytes >> 21) << 21;
  PARLEY_CHECK(::ftruncate(fd, static_cast<off_t>(result.size_bytes)) == 0, "ftruncate");
  const uint64_t pages = (result.size_bytes + kPage - 1) / kPage;
  const uint8_t fill = script.Take8() % 8;
  if (pages != 0 && !result.huge_pages) {
    // 0..4: complete. 5: sparse. 6: a hole. 7: a hole, hidden from a count by a page past the end.
    if (fill == 5) {
      result.pages_missing = true;
    } else {
      PARLEY_CHECK(::fallocate(fd, 0, 0, static_cast<off_t>(result.size_bytes)) == 0, "fallocate");
    }
    if (fill >= 6) {
      const auto hole = static_cast<off_t>(script.Take8() % pages * kPage);
      const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
      PARLEY_CHECK(::fallocate(fd, punch, hole, kPage) == 0, "punch");
      result.pages_missing = true;
    }
    if (fill == 7) {
      result.hole_hidden = true;
      PARLEY_CHECK(
          ::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(pages * kPage), kPage) == 0,
          "fallocate past the end");
    }
  }
  // SEAL itself last, or the rest would be refused.
  const unsigned seals = SealsOf(script);
  ::fcntl(fd, F_ADD_SEALS, seals & ~unsigned{F_SEAL_SEAL});
  ::fcntl(fd, F_ADD_SEALS, seals & F_SEAL_SEAL);
  result.seals = static_cast<unsigned>(::fcntl(fd, F_GET_SEALS));
  return result;
}

UniqueFd MakeDescriptor(testing::Script& script, uint64_t file_bytes) {
  UniqueFd fd;
  switch (script.Take8() % 26) {
    case 0:
      fd.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      break;
    case 1:
      fd.Reset(::eventfd(1, EFD_CLOEXEC | EFD_SEMAPHORE));
      break;
    case 2:
      fd = SocketEnd(SOCK_SEQPACKET);
      break;
    case 3:
      fd = SocketEnd(SOCK_STREAM);
      break;
    case 4:
      fd = SocketEnd(SOCK_DGRAM);
      break;
    case 5:
      fd = ListeningSocket();
      break;
    case 6:
      fd.Reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
      break;
    case 7:
      fd.Reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      break;
    case 8:
      fd = PipeEnd(false);
      break;
    case 9:
      fd = PipeEnd(true);
      break;
    case 10:
      fd.Reset(::open("/dev/zero", O_RDWR | O_CLOEXEC));
      break;
    case 11:
      fd.Reset(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      break;
    case 12:
      fd.Reset(::open("/dev/null", O_PATH | O_CLOEXEC));
      break;
    case 13:
      fd.Reset(::epoll_create1(EPOLL_CLOEXEC));
      break;
    case 14:
      fd.Reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
      break;
    case 15:
      fd.Reset(::open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
      break;
    default:
      fd = MakeMemfd(script, file_bytes).fd;
      break;
  }
  if (!fd.ok()) fd.Reset(::eventfd(0, EFD_CLOEXEC));
  PARLEY_CHECK(fd.ok(), "out of descriptors");
  return fd;
}

void AwaitSealHelpers() {
  for (int i = 0; i < 10'000 && internal::SealHelpersLeft() != 0; ++i) ::usleep(1000);
}

}  // namespace parley::fuzz
