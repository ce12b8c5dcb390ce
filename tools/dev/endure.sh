# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev endure [--uml] [flags of endure]`.

endure_head() {
  cat <<'END'
# Endurance

Real processes that live through what happens to their peers: SIGKILL at random points, stops,
descriptor tables and memory groups that are full, clocks that jump. A survivor is measured before the
first peer and after the last: nothing may leak, every byte that arrives is checked, and the next peers
must be served. No call may outlive its deadline by more than the machine's own lateness, measured by a
control process beside it, and 20 ms (`villain/lateness.h`). In each cell, `a -> b` is before and after;
"late by" is the longest that any call came back behind its deadline, time included in which the kernel
says that it was ready to run and did not.

Written by `./dev endure --markdown >docs/ENDURANCE.md`; what the flags mean says `./dev endure --help`.

END
}

run_endure() {
  local uml=0 bin
  if [[ "${1:-}" == --uml ]]; then
    uml=1
    shift
  fi
  # shellcheck disable=SC2046
  (
    cd "$PARLEY_ROOT"
    say bazel build --config=opt //endurance:endure
    bazel_with gcc build $(progress_flags) --config=opt //endurance:endure >&2
  )
  bin="$(cd "$PARLEY_ROOT" && bazel_with gcc info --config=opt bazel-bin 2>/dev/null)/endurance/endure"
  [[ " $* " != *" --markdown "* ]] || endure_head
  if ((uml)); then
    need_packages endure-uml
    endure_in_uml "$bin" "$@"
  else
    say endure "$@"
    exec "$bin" --commit "$(git_revision)" "$@"
  fi
}

# A kernel of its own, as a process of this one (user-mode Linux), over this machine's files
# without the right to write to them: there the clock may be set, and memory groups are of
# version 2. What `endure` prints goes through a file, since the console mixes everything.
endure_in_uml() {
  local bin="$1" folder status flags
  shift
  folder="$(mktemp -d)"
  flags="$(printf ' %q' --commit "$(git_revision), in user-mode Linux" "$@")"
  cat >"$folder/init" <<END
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t cgroup2 none /sys/fs/cgroup
mount -t hostfs none /mnt -o $folder
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
TMPDIR=/run $bin$flags >/mnt/out 2>/mnt/err
echo \$? >/mnt/status
echo o >/proc/sysrq-trigger
sleep 60
END
  chmod +x "$folder/init"
  say linux.uml init="$folder/init" "# endure $*"
  linux.uml mem=1024M root=/dev/root rootfstype=hostfs rootflags=/ ro "init=$folder/init" \
    con=null con0=null quiet >"$folder/console" 2>&1 </dev/null || true
  cat "$folder/err" >&2 2>/dev/null || true
  cat "$folder/out" 2>/dev/null || true
  status="$(cat "$folder/status" 2>/dev/null)" || status=""
  if [[ -z "$status" ]]; then
    tail -n 20 "$folder/console" >&2
    status=1
  fi
  rm -rf "$folder"
  return "$status"
}
