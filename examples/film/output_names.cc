// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/output_names.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "absl/strings/str_cat.h"
#include "parley/os/errors.h"

namespace parley::film {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel follows

}  // namespace

absl::Status OutputNames::Resolve(const std::string& path, Name& name) {
  name.path = path;
  struct stat info;
  if (::stat(path.c_str(), &info) == 0) {
    name.exists = true;
    name.device = info.st_dev;
    name.inode = info.st_ino;
  }
  // A link to what is not there yet leads to a folder as well.
  std::string at = path;
  for (int links = 0; links < kMaxLinks; ++links) {
    char target[PATH_MAX];
    const ssize_t length = ::readlink(at.c_str(), target, sizeof(target));
    if (length < 0) break;
    const std::string to(target, static_cast<size_t>(length));
    const size_t slash = at.rfind('/');
    const bool beside = to.rfind('/', 0) != 0 && slash != std::string::npos;
    at.resize(beside ? slash + 1 : 0);
    at += to;
  }
  const size_t slash = at.rfind('/');
  const std::string folder = slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : at.substr(0, slash);
  if (::stat(folder.c_str(), &info) == 0) {
    name.leaf = slash == std::string::npos ? at : at.substr(slash + 1);
    name.folder_device = info.st_dev;
    name.folder_inode = info.st_ino;
  } else if (!name.exists) {
    return ErrnoStatus(errno, absl::StrCat("create ", path));
  }
  return absl::OkStatus();
}

bool OutputNames::Same(const Name& a, const Name& b) {
  if (a.exists && b.exists && a.device == b.device && a.inode == b.inode) return true;
  return !a.leaf.empty() && a.leaf == b.leaf && a.folder_device == b.folder_device &&
         a.folder_inode == b.folder_inode;
}

absl::Status OutputNames::ProtectInput(int fd, const std::string& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, absl::StrCat("look at ", path));
  Name name;
  name.owner = "the film itself";
  name.path = path;
  name.exists = true;
  name.device = info.st_dev;
  name.inode = info.st_ino;
  names_.push_back(name);
  return absl::OkStatus();
}

absl::Status OutputNames::Claim(const std::string& path, const std::string& owner) {
  Name name;
  const absl::Status resolved = Resolve(path, name);
  if (!resolved.ok()) return resolved;
  name.owner = owner;
  struct stat info;
  if (name.exists && ::stat(path.c_str(), &info) == 0 && S_ISCHR(info.st_mode)) {
    return absl::OkStatus();
  }
  for (const Name& taken : names_) {
    if (taken.owner == owner || !Same(taken, name)) continue;
    return absl::InvalidArgumentError(absl::StrCat(owner, " would write to ", path, ", which is ",
                                                   taken.owner, " (", taken.path, ")"));
  }
  names_.push_back(name);
  return absl::OkStatus();
}

}  // namespace parley::film
