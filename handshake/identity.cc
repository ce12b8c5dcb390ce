// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/identity.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include "parley/os/pidfd.h"

namespace parley {
namespace {

std::string ReadSmallFile(const char* path) {
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text(1024, '\0');
  const ssize_t got = file.ok() ? ::read(file.get(), text.data(), text.size()) : -1;
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

// Whether `id` is what the kernel says for all those that have no id in our user namespace. In one
// that has them all, as the first one does, it is an id like any other.
bool StandsForMany(uint32_t id, const char* overflow_file, const char* map_file) {
  const std::string overflow = ReadSmallFile(overflow_file);
  // Where /proc can't be read, the number that every system has.
  const uint32_t number =
      overflow.empty() ? 65534 : static_cast<uint32_t>(std::strtoul(overflow.c_str(), nullptr, 10));
  if (id != number) return false;
  std::istringstream map(ReadSmallFile(map_file));
  uint32_t inside = 1;
  uint32_t outside = 1;
  uint32_t count = 0;
  map >> inside >> outside >> count;
  return inside != 0 || count != std::numeric_limits<uint32_t>::max();
}

bool IsUser(uid_t peer, uid_t uid) {
  return peer == uid && !StandsForMany(peer, "/proc/sys/kernel/overflowuid", "/proc/self/uid_map");
}

// The number of the process, which lives; 0 if it has ended or is in another namespace.
pid_t LivingProcess(int pidfd) {
  const std::string info = ReadSmallFile(("/proc/self/fdinfo/" + std::to_string(pidfd)).c_str());
  const auto at = info.find("Pid:");
  if (at == std::string::npos || ProcessHasEnded(pidfd)) return 0;
  const long pid = std::strtol(info.c_str() + at + 4, nullptr, 10);
  return pid > 0 ? static_cast<pid_t>(pid) : 0;
}

// Two that live at once have the same number only if they are one.
bool SameProcess(int one, int other) {
  const pid_t pid = LivingProcess(one);
  return pid != 0 && pid == LivingProcess(other) && !ProcessHasEnded(one);
}

}  // namespace

PeerPolicy PeerPolicy::SameUser() {
  return Predicate([](const PeerIdentity& peer) { return IsUser(peer.uid, ::geteuid()); });
}

PeerPolicy PeerPolicy::SameUserOrRoot() {
  return Predicate(
      [](const PeerIdentity& peer) { return peer.uid == 0 || IsUser(peer.uid, ::geteuid()); });
}

PeerPolicy PeerPolicy::Uid(uid_t uid) {
  PeerPolicy policy = Predicate([uid](const PeerIdentity& peer) { return IsUser(peer.uid, uid); });
  if (uid != ::geteuid()) policy.mode_ = 0666;
  return policy;
}

PeerPolicy PeerPolicy::Gid(gid_t gid) {
  PeerPolicy policy = Predicate([gid](const PeerIdentity& peer) {
    return peer.gid == gid &&
           !StandsForMany(gid, "/proc/sys/kernel/overflowgid", "/proc/self/gid_map");
  });
  policy.mode_ = 0666;
  return policy;
}

PeerPolicy PeerPolicy::Pid(UniqueFd pidfd) {
  return Predicate(
      [process = std::make_shared<UniqueFd>(std::move(pidfd))](const PeerIdentity& peer) {
        return peer.pidfd.ok() && process->ok() && SameProcess(process->get(), peer.pidfd.get());
      });
}

PeerPolicy PeerPolicy::Predicate(std::function<bool(const PeerIdentity&)> admits) {
  PeerPolicy policy;
  policy.admits_ = std::move(admits);
  return policy;
}

PeerPolicy PeerPolicy::And(PeerPolicy other) const {
  const mode_t mode = mode_ | other.mode_;
  PeerPolicy policy = Predicate([a = *this, b = std::move(other)](const PeerIdentity& peer) {
    return a.Admits(peer) && b.Admits(peer);
  });
  policy.mode_ = mode;
  return policy;
}

bool PeerPolicy::Admits(const PeerIdentity& identity) const {
  return !admits_ || admits_(identity);
}

}  // namespace parley
