// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_SECOND_WALL_H_
#define PARLEY_SANDBOX_SECOND_WALL_H_

// Namespaces around a worker: what stands behind the system call filter where they can be made.
//
// Without a privilege, Spawn makes a user namespace (no capability that the worker gets is one
// outside, uid 0 is nobody's), and in it namespaces of processes (it sees and can signal nothing
// outside; its death, or its parent's, is the death of all that it made, daemons too), mounts (a
// /proc of its own at first, and at lock-down an empty root without a way back), network (not even
// a loopback that is up), System V IPC and POSIX queues, host name, cgroup paths. In them no
// further user namespace can be made.
//
// They cannot be made in most containers, Flatpak, snap, a chroot, where the administrator has
// switched them off, and by a process that is not root and cannot be dumped. Then the worker runs
// with the filter and Landlock alone, and SecondWall says so.
//
// A small process holds the namespaces as their process 1, so that the worker is an ordinary one:
// abort() and other signals end it as anywhere, and orphans are reaped. It is a child of ours that
// no wait of ours but Worker's sees (it sends no SIGCHLD), keeps nothing of our memory but one page
// of code and one of stack, and ends when the worker ends.
//
// Trust: the kernel's word. None of it is relied on: the filter alone must hold.
// Threads: values; any.

#include <string>

namespace parley {

struct NamespaceOptions {
  enum class Use {
    kWhereAvailable,  // all, or as many as can be made
    kRequired,        // Spawn fails unless all can be
    kNone,
  };
  Use use = Use::kWhereAvailable;
  // False: the worker keeps our network. For one that connects to a listener by its abstract name.
  bool network = true;
  // A parent that is uid 0 and may change user ids (CAP_SETUID) has workers that are uid 65534
  // (nobody) from before exec: files of root's are foreign to them. Where that user may not execute
  // the program, it runs as root without capabilities, as it does without namespaces. The program's
  // libraries are not looked at: one that lies where only root may read fails to load.
  bool root_becomes_nobody = true;
};

// What one worker has.
struct SecondWall {
  bool user = false;
  bool pid = false;
  bool mount = false;
  bool own_proc =
      false;  // a /proc that shows its processes alone; not in containers that mask theirs
  bool network = false;
  bool ipc = false;
  bool uts = false;
  bool cgroup = false;
  bool nobody = false;  // see root_becomes_nobody
  // Why something that was asked for is missing: "making its namespaces: Operation not permitted".
  std::string missing;

  // "namespaces: user pid mount network ipc uts cgroup", or "no namespaces (making ...)".
  std::string ToString() const;
};

}  // namespace parley

#endif  // PARLEY_SANDBOX_SECOND_WALL_H_
