// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "parley/os/check.h"
#include "parley/os/errors.h"
#include "parley/os/file_size_signal.h"

// Linux 6.3; the value is the kernel's ABI.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace parley {
namespace {

// The same for all, because /proc/PID/maps shows it.
constexpr char kName[] = "parley";

std::string What(uint64_t size_bytes) {
  return "allocate " + std::to_string(size_bytes) + " bytes of shared memory";
}

// More than all memory and swap together would only wake the OOM killer, half-way.
absl::Status VerifyMachineHas(uint64_t size_bytes) {
  struct sysinfo machine;
  if (::sysinfo(&machine) != 0) return ErrnoStatus(errno, "ask for the size of this machine");
  const uint64_t unit = std::max<uint64_t>(1, machine.mem_unit);
  const uint64_t pages = uint64_t{machine.totalram} + uint64_t{machine.totalswap};
  if (size_bytes / unit < pages) return absl::OkStatus();
  return absl::ResourceExhaustedError("cannot " + What(size_bytes) + ": this machine has " +
                                      std::to_string(pages * unit) + " in all");
}

// Truncate and fallocate as 0 or errno.
int SetSize(int fd, uint64_t size_bytes) {
  while (::ftruncate(fd, static_cast<off_t>(size_bytes)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

// Where a signal interrupts fallocate, it gives back what it had and starts over (older kernels;
// not Linux 6.18). Pieces make sure that a process with a busy timer gets to the end.
int AllocatePiece(int fd, uint64_t at_bytes, uint64_t piece_bytes) {
  while (::fallocate(fd, 0, static_cast<off_t>(at_bytes), static_cast<off_t>(piece_bytes)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

int Allocate(int fd, uint64_t from_bytes, uint64_t to_bytes) {
  for (uint64_t at = from_bytes; at < to_bytes;) {
    const uint64_t piece = std::min(MemfdBuilder::kPieceBytes, to_bytes - at);
    if (const int error = AllocatePiece(fd, at, piece); error != 0) return error;
    at += piece;
  }
  return 0;
}

}  // namespace

absl::Status ResizeMemfd(int fd, uint64_t old_size_bytes, uint64_t new_size_bytes) {
  if (new_size_bytes > old_size_bytes) {
    if (absl::Status status = VerifyMachineHas(new_size_bytes); !status.ok()) return status;
  }
  int error = 0;
  {
    const NoFileSizeSignal no_signal;
    error = SetSize(fd, new_size_bytes);
    if (error == 0 && new_size_bytes > old_size_bytes) {
      error = Allocate(fd, old_size_bytes, new_size_bytes);
      if (error != 0) SetSize(fd, old_size_bytes);
    }
  }
  return error == 0 ? absl::OkStatus() : ErrnoStatus(error, What(new_size_bytes));
}

absl::StatusOr<MemfdBuilder> MemfdBuilder::Start(uint64_t size_bytes) {
  if (absl::Status status = VerifyMachineHas(size_bytes); !status.ok()) return status;
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd fd(::memfd_create(kName, kFlags | MFD_NOEXEC_SEAL));
  // A kernel before 6.3 does not know the flag; it has no F_SEAL_EXEC either, against which the
  // flag protects. A filter around this process that is older than the flag refuses it.
  if (!fd.ok() && (errno == EINVAL || errno == EPERM || errno == ENOSYS)) {
    fd.Reset(::memfd_create(kName, kFlags));
  }
  if (!fd.ok()) return ErrnoStatus(errno, "create a memfd");
  const NoFileSizeSignal no_signal;
  if (const int error = SetSize(fd.get(), size_bytes); error != 0) {
    return ErrnoStatus(error, What(size_bytes));
  }
  return MemfdBuilder(std::move(fd), size_bytes);
}

absl::StatusOr<bool> MemfdBuilder::Step(Deadline until) {
  const NoFileSizeSignal no_signal;
  while (allocated_bytes_ < size_bytes_) {
    const uint64_t piece = std::min(kPieceBytes, size_bytes_ - allocated_bytes_);
    if (const int error = AllocatePiece(fd_.get(), allocated_bytes_, piece); error != 0) {
      return ErrnoStatus(error, What(size_bytes_));
    }
    allocated_bytes_ += piece;
    if (until.Expired()) break;
  }
  if (allocated_bytes_ < size_bytes_) return false;
  // Where the machine makes huge pages of all shared memory (shmem_enabled is "always"), the last
  // one reaches beyond the end. Cutting to the same size frees that, and whoever adopts the file
  // finds exactly the pages that it expects.
  if (const int error = SetSize(fd_.get(), size_bytes_); error != 0) {
    return ErrnoStatus(error, What(size_bytes_));
  }
  return true;
}

UniqueFd MemfdBuilder::Take() && {
  PARLEY_CHECK(allocated_bytes_ == size_bytes_, "MemfdBuilder::Take: not all memory is there yet");
  return std::move(fd_);
}

absl::StatusOr<UniqueFd> CreateMemfd(uint64_t size_bytes) {
  absl::StatusOr<MemfdBuilder> builder = MemfdBuilder::Start(size_bytes);
  if (!builder.ok()) return builder.status();
  const Deadline never = Deadline::After(absl::InfiniteDuration());
  while (true) {
    const absl::StatusOr<bool> done = builder->Step(never);
    if (!done.ok()) return done.status();
    if (*done) return std::move(*builder).Take();
  }
}

}  // namespace parley
