// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/second_wall.h"

namespace parley {

std::string SecondWall::ToString() const {
  std::string text = user ? "namespaces: user" : "no namespaces";
  const auto add = [&text](bool present, const char* name) {
    if (present) text += name;
  };
  add(pid, " pid");
  add(mount, " mount");
  add(network, " network");
  add(ipc, " ipc");
  add(uts, " uts");
  add(cgroup, " cgroup");
  add(own_proc, ", a /proc of its own");
  add(nobody, ", user 65534 instead of root");
  if (!missing.empty()) text += " (" + missing + ")";
  return text;
}

}  // namespace parley
