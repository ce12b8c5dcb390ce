# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: other systems in folders of their own, so that nothing of them is installed here.

# As root, or with sudo; what it runs is printed by the caller.
as_root() {
  if (($(id -u) == 0)); then "$@"; else sudo "$@"; fi
}

roots_dir() { echo "$(cache_root)/roots"; }

# make_root NAME SUITE ARCHITECTURES PACKAGE...: a Debian in roots_dir/NAME, with these packages; made once
# for each list of packages. For another processor they are unpacked and not set up, since nothing of theirs can run here.
make_root() {
  local name="$1" suite="$2" architectures="$3" variant=minbase root stamp list
  shift 3
  root="$(roots_dir)/$name"
  stamp="$root.made-with"
  list="$suite $architectures $*"
  if [[ -d "$root" && "$(cat "$stamp" 2>/dev/null)" == "$list" ]]; then return; fi
  mkdir -p "$(roots_dir)"
  as_root rm -rf "$root" "$stamp"
  [[ "${architectures%%,*}" == "$(dpkg --print-architecture)" ]] || variant=extract
  say mmdebstrap --variant=$variant --architectures="$architectures" --include="$(tr ' ' ',' <<<"$*")" "$suite" "$root"
  if ! as_root mmdebstrap --quiet --variant=$variant --architectures="$architectures" \
    --include="$(tr ' ' ',' <<<"$*")" "$suite" "$root" >"$root.log" 2>&1 </dev/null; then
    tail -n 20 "$root.log" >&2
    as_root rm -rf "$root"
    die "the root $root could not be made"
  fi
  echo "$list" >"$stamp"
}

# in_root NAME [FROM:TO...] -- COMMAND...: in a mount namespace of its own, with /proc and /dev of this
# machine, and each folder FROM of it at TO.
in_root() {
  local root pair binds=()
  root="$(roots_dir)/$1"
  shift
  while [[ "$1" != -- ]]; do
    binds+=("$1")
    shift
  done
  shift
  # shellcheck disable=SC2016
  as_root unshare --mount --propagation private bash -c '
    set -euo pipefail
    root="$1"
    shift
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs tmp "$root/tmp"
    while [[ "$1" != -- ]]; do
      mkdir -p "$root/${1#*:}"
      mount --bind "${1%%:*}" "$root/${1#*:}"
      shift
    done
    shift
    exec chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LC_ALL=C.UTF-8 "$@"
  ' in_root "$root" ${binds[@]+"${binds[@]}"} -- "$@"
}

# ext4_image FOLDER FILE: with as much room as the folder takes and a quarter more.
ext4_image() {
  local mib
  mib=$(($(as_root du -s -B 1M "$1" | cut -f1) * 5 / 4 + 64))
  as_root rm -f "$2"
  say mke2fs -d "$1" "$2" "# $mib MiB"
  as_root mke2fs -q -t ext4 -O ^has_journal -d "$1" "$2" "${mib}M" >&2
  as_root chmod 0644 "$2"
}
