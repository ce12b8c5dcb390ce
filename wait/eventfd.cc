// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/eventfd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include "parley/os/errors.h"

namespace parley {
namespace {

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return ErrnoStatus(errno, "look at a received descriptor (is /proc mounted?)");
  std::string text(1024, '\0');
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got < 0) return ErrnoStatus(errno, "look at a received descriptor");
  text.resize(static_cast<std::size_t>(got));
  return text;
}

}  // namespace

absl::StatusOr<UniqueFd> CreateEventfd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.ok()) return ErrnoStatus(errno, "create an eventfd");
  return fd;
}

absl::Status VerifyEventfd(int fd) {
  const std::string number = std::to_string(fd);
  std::array<char, 64> name;
  const ssize_t length = ::readlink(("/proc/self/fd/" + number).c_str(), name.data(), name.size());
  if (length < 0) return ErrnoStatus(errno, "look at a received descriptor (is /proc mounted?)");
  if (std::string_view(name.data(), static_cast<std::size_t>(length)) != "anon_inode:[eventfd]") {
    return absl::InvalidArgumentError("the doorbell that was received is no eventfd");
  }
  const auto info = ReadSmallFile("/proc/self/fdinfo/" + number);
  if (!info.ok()) return info.status();
  if (info->find("eventfd-semaphore: 1") != std::string::npos) {
    return absl::InvalidArgumentError("the doorbell that was received is a semaphore");
  }
  return absl::OkStatus();
}

}  // namespace parley
