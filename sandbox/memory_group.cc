// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/memory_group.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"

namespace parley {
namespace {

constexpr char kPrefix[] = "parley-";

absl::Status Write(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.ok() || ::write(file.get(), text.data(), text.size()) < 0) {
    return ErrnoStatus(errno, "write " + text + " to " + path);
  }
  return absl::OkStatus();
}

// Groups that still had a process in them when they were to be removed.
class Left {
 public:
  // Tries each, and `more`, if that is one.
  void Remove(const std::string& more = "") {
    const std::lock_guard<std::mutex> lock(mutex_);
    // A child that was forked leaves its parent's alone.
    if (std::exchange(maker_, ::getpid()) != ::getpid()) paths_.clear();
    if (!more.empty()) paths_.push_back(more);
    std::erase_if(paths_, [](const std::string& path) {
      return ::rmdir(path.c_str()) == 0 || errno != EBUSY;
    });
  }
  bool empty() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return paths_.empty();
  }

 private:
  std::mutex mutex_;
  pid_t maker_ = ::getpid();
  std::vector<std::string> paths_;
};

Left& AllLeft() {
  // Never destroyed: a MemoryGroup may be, at the end of the process.
  static auto& all = []() -> Left& {
    // What no later group has removed by then.
    static_cast<void>(std::atexit([] {
      constexpr useconds_t kPauseUs = 5000;
      AllLeft().Remove();
      for (int i = 0; i < 40 && !AllLeft().empty(); ++i) {
        ::usleep(kPauseUs);
        AllLeft().Remove();
      }
    }));
    return *std::make_unique<Left>().release();
  }();
  return all;
}

bool HasWord(const std::string& path, const std::string& word) {
  std::ifstream file(path);
  for (std::string one; file >> one;) {
    if (one == word) return true;
  }
  return false;
}

// The path of this process's group in the hierarchy whose line in /proc/self/cgroup has
// `controller`: "" for version 2.
std::string OwnGroup(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::istringstream names(line.substr(first + 1, second - first - 1));
    std::string name;
    do {
      name.clear();
      std::getline(names, name, ',');
      if (name == controller) return line.substr(second + 1);
    } while (!names.eof() && !name.empty());
  }
  return "?";
}

// Where the hierarchy is mounted; "" if it is not.
std::string MountPoint(const std::string& type, const std::string& option) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device;
    std::string where;
    std::string what;
    std::string how;
    fields >> device >> where >> what >> how;
    if (what != type) continue;
    if (option.empty() || ("," + how + ",").find("," + option + ",") != std::string::npos) {
      return where;
    }
  }
  return "";
}

bool MayMakeGroupsIn(const std::string& path) { return ::access(path.c_str(), W_OK) == 0; }

}  // namespace

absl::StatusOr<std::string> MemoryGroupParent(bool* version_2) {
  *version_2 = false;
  if (const std::string mount = MountPoint("cgroup", "memory"); !mount.empty()) {
    std::string path = mount + OwnGroup("memory");
    if (MayMakeGroupsIn(path)) return path;
    return absl::FailedPreconditionError("no right to make a memory control group (root has it)");
  }
  const std::string mount = MountPoint("cgroup2", "");
  if (mount.empty() || !HasWord(mount + "/cgroup.controllers", "memory")) {
    return absl::FailedPreconditionError("no memory control groups on this machine");
  }
  *version_2 = true;
  // A group with processes in it can have none below it with limits, except for the root: so the
  // nearest one above ours that hands the controller down.
  for (std::string own = OwnGroup("");;) {
    std::string path = mount + (own == "/" ? "" : own);
    if (HasWord(path + "/cgroup.subtree_control", "memory") && MayMakeGroupsIn(path)) return path;
    if (own.empty() || own == "/" || own == "?") break;
    own = own.substr(0, own.rfind('/'));
  }
  return absl::FailedPreconditionError(
      "no memory control group may be made here (root may, where cgroup.subtree_control has "
      "'memory')");
}

absl::StatusOr<MemoryGroup> MemoryGroup::Create(const std::string& tag, int64_t limit_bytes) {
  bool version_2 = false;
  auto parent = MemoryGroupParent(&version_2);
  if (!parent.ok()) return parent.status();
  AllLeft().Remove();
  const std::string path = *parent + "/" + kPrefix + tag;
  // An empty one of that name is left of a process that was killed, and had our number.
  if (::mkdir(path.c_str(), 0755) != 0 &&
      (errno != EEXIST || ::rmdir(path.c_str()) != 0 || ::mkdir(path.c_str(), 0755) != 0))
    return ErrnoStatus(errno, "make the group " + path);
  MemoryGroup group(path, version_2);
  if (absl::Status s = group.SetLimit(limit_bytes); !s.ok()) return s;
  // Swap would only make it slow. Not there if the kernel does not count it.
  if (version_2) {
    static_cast<void>(Write(path + "/memory.swap.max", "0"));
  } else {
    static_cast<void>(Write(path + "/memory.swappiness", "0"));
  }
  return group;
}

MemoryGroup::MemoryGroup(MemoryGroup&& other) noexcept
    : path_(std::exchange(other.path_, "")), version_2_(other.version_2_) {}

MemoryGroup::~MemoryGroup() {
  if (path_.empty()) return;
  AllLeft().Remove(path_);
}

absl::Status MemoryGroup::Add(pid_t pid) const {
  return Write(path_ + "/cgroup.procs", std::to_string(pid));
}

absl::Status MemoryGroup::Enter() const { return Add(::getpid()); }

absl::Status MemoryGroup::SetLimit(int64_t limit_bytes) const {
  return Write(path_ + (version_2_ ? "/memory.max" : "/memory.limit_in_bytes"),
               std::to_string(limit_bytes));
}

// The number in a file, or after `field` in it; -1 if there is none.
int64_t MemoryGroup::Read(const char* name, const std::string& field) const {
  std::ifstream file(path_ + "/" + name);
  int64_t value = -1;
  if (field.empty()) {
    file >> value;
    return value;
  }
  for (std::string word; file >> word;) {
    if (word == field && file >> value) return value;
  }
  return -1;
}

int64_t MemoryGroup::Usage() const {
  return version_2_ ? Read("memory.current", "") : Read("memory.usage_in_bytes", "");
}

int64_t MemoryGroup::Peak() const {
  return version_2_ ? Read("memory.peak", "") : Read("memory.max_usage_in_bytes", "");
}

int64_t MemoryGroup::AtLimit() const {
  return version_2_ ? Read("memory.events", "max") : Read("memory.failcnt", "");
}

int64_t MemoryGroup::Kills() const {
  return version_2_ ? Read("memory.events", "oom_kill") : Read("memory.oom_control", "oom_kill");
}

void RemoveMemoryGroups(const std::string& tag_prefix) {
  bool version_2 = false;
  const auto parent = MemoryGroupParent(&version_2);
  if (!parent.ok()) return;
  DIR* folder = ::opendir(parent->c_str());
  if (folder == nullptr) return;
  while (const dirent* entry = ::readdir(folder)) {  // NOLINT(concurrency-mt-unsafe): one thread
    const std::string name = entry->d_name;
    if (name.rfind(kPrefix + tag_prefix + "-", 0) == 0) ::rmdir((*parent + "/" + name).c_str());
  }
  ::closedir(folder);
}

}  // namespace parley
