# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev arm64 [--only REGEX] [--villain REGEX] [--more] [--record]`.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/plain.sh"

readonly ARM64_PACKAGES=(
  g++-aarch64-linux-gnu ninja-build pkg-config googletest libabsl-dev:arm64 libseccomp-dev:arm64 linux-libc-dev:arm64
)
# The guest's kernel, and what its tests start.
readonly ARM64_GUEST_PACKAGES=(linux-image-cloud-arm64 busybox-static dash bash coreutils mount util-linux hostname sed
  grep mawk findutils debianutils base-files base-passwd libc-bin python3-minimal libpython3-stdlib procps strace binutils
  libseccomp2 libabsl20220623 libstdc++6)

arm64_usage() {
  cat <<END
Usage: ./dev arm64 [--only REGEX] [--villain REGEX] [--more] [--record]

Cross-builds the library and its tests for arm64 with our warnings as errors, in a root of its own (Debian 12,
g++-aarch64-linux-gnu), and runs the tests and the villain's cases in Debian 12's own kernel for arm64, booted by
qemu-system-aarch64: a whole machine, emulated. (An emulated process, qemu-user, is not enough: it has no seccomp,
no CLONE_PIDFD, and no clone() that shares memory, without which no region of shared memory is sealed.)

  --only REGEX     programs whose label matches, for a first look
  --villain REGEX  of the villain's cases those whose names match
  --more           goes on where a run of the same programs stopped
  --record         writes docs/runs/arm64.md

A failed case is repeated alone, twice at most, and then named as such. What is not judged there, and why, is in
tools/dev/places/expectations.txt. Exit code: 0 if everything was built and nothing failed.
END
}

run_arm64() {
  local revision # of what is built, and not of what is there when it ends
  revision="$(git_revision)"
  local only="" cases="" more=() record=0 folder libs root file status=0
  while (($#)); do
    case "$1" in
      --only) only="$2" && shift ;;
      --villain) cases="$2" && shift ;;
      --more) more=(--more) ;;
      --record) record=1 ;;
      --help | -h) arm64_usage && return ;;
      *) die "arm64 has no argument '$1'" ;;
    esac
    shift
  done
  folder="$(cache_dir)/arm64"
  make_root arm64 bookworm amd64,arm64 "${ARM64_PACKAGES[@]}"
  # shellcheck disable=SC2046
  libs="$(in_root arm64 -- env PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig \
    pkg-config --libs $(plain_libraries))"
  plain_query "$folder" arm64 "$only"
  plain_build arm64 "$folder" arm64 --compiler aarch64-linux-gnu-g++ --ar aarch64-linux-gnu-ar \
    --flags=-O2 "--test-flags=$PLAIN_TEST_FLAGS" --libs "$libs"

  make_root guest-arm64 bookworm arm64 "${ARM64_GUEST_PACKAGES[@]}"
  root="$(roots_dir)/guest-arm64"
  if [[ ! "$root.img" -nt "$root.made-with" ]]; then
    for file in passwd group; do
      as_root cp "$root/usr/share/base-passwd/$file.master" "$root/etc/$file"
    done
    as_root install -m 0600 /dev/null "$root/etc/shadow"
    ext4_image "$root" "$root.img"
  fi
  python3 -B "$PLACES/done.py" --tree "$folder/tree" --events "$folder/events" ${more[@]+"${more[@]}"}
  ext4_image "$folder/tree" "$folder/tree.img"
  say qemu-system-aarch64 -machine virt -cpu max -smp 2 "# $(basename "$root"/boot/vmlinuz-*)"
  python3 -B "$PLACES/boot.py" --machine aarch64 --unpacked "$root" --root "$root.img" --tests "$folder/tree.img" \
    --events "$folder/events" --console "$folder/console" \
    -- --scale "$EMULATED_SCALE" --tries "$TRIES" ${cases:+--villain "$cases"} || status=1
  echo
  python3 -B "$PLACES/report.py" --manifest "$folder/tree/manifest.json" "arm64=arm64=$folder/events" || status=1
  if ((record)); then
    mkdir -p "$PARLEY_ROOT/docs/runs"
    python3 -B "$PLACES/report.py" --markdown --title "The tests and the villain on arm64, emulated" \
      --command "./dev arm64 --record${only:+ --only '$only'}${cases:+ --villain '$cases'}${more:+ --more}" --commit "$revision" \
      --note "Cross-built with g++ 12 at -O2 and -Werror; a machine with two processors, emulated by qemu, with Debian's kernel: no arm64 hardware, and no order of loads and stores but that of x86-64. A program's limit is $EMULATED_SCALE times as long there, its own bounds on time are not. A failed case is repeated alone, at most $((TRIES - 1)) times." \
      --manifest "$folder/tree/manifest.json" "arm64=arm64=$folder/events" >"$PARLEY_ROOT/docs/runs/arm64.md" || true
    echo "dev: wrote docs/runs/arm64.md" >&2
  fi
  return "$status"
}
