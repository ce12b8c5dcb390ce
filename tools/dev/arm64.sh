# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev arm64 [--only REGEX] [--record]`.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/plain.sh"

readonly ARM64_PACKAGES=(
  g++-aarch64-linux-gnu ninja-build pkg-config googletest libabsl-dev:arm64 libseccomp-dev:arm64 linux-libc-dev:arm64
)

arm64_usage() {
  cat <<END
Usage: ./dev arm64 [--only REGEX] [--record]

Cross-builds the library and its tests for arm64 with our warnings as errors, in a root of its own (Debian 12,
g++-aarch64-linux-gnu), and runs the tests with qemu-aarch64-static. That emulates a process, not a
machine: it has no seccomp, no CLONE_PIDFD, and madvise does nothing; what is not run or not judged for
such a reason is listed. Exit code: 0 if everything was built and nothing failed.
END
}

run_arm64() {
  local revision # of what is built, and not of what is there when it ends
  revision="$(git_revision)"
  local only="" record=0 folder libs status=0
  while (($#)); do
    case "$1" in
      --only) only="$2" && shift ;;
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
    pkg-config --static --libs $(plain_libraries))"
  plain_query "$folder" arm64 "$only"
  plain_build arm64 "$folder" arm64 --compiler aarch64-linux-gnu-g++ --ar aarch64-linux-gnu-ar --static \
    --flags=-O2 "--test-flags=$PLAIN_TEST_FLAGS" --libs "$libs"
  say run_cases.py --wrap qemu-aarch64-static
  python3 -B "$PLACES/run_cases.py" --tree "$folder/tree" --out "$folder/events" --tries 3 --scale 8 \
    --wrap "$(command -v qemu-aarch64-static)" || status=1
  echo
  python3 -B "$PLACES/report.py" --manifest "$folder/tree/manifest.json" "arm64=arm64=$folder/events" || status=1
  if ((record)); then
    mkdir -p "$PARLEY_ROOT/docs/runs"
    python3 -B "$PLACES/report.py" --markdown --title "The tests on arm64, emulated" \
      --command "./dev arm64 --record${only:+ --only $only}" --commit "$revision" \
      --note "Cross-built with g++ 12 at -O2 and -Werror, static, run by qemu-aarch64-static 7.2: an emulated process on this machine's kernel, no arm64 hardware." \
      --manifest "$folder/tree/manifest.json" "arm64=arm64=$folder/events" >"$PARLEY_ROOT/docs/runs/arm64.md" || true
    echo "dev: wrote docs/runs/arm64.md" >&2
  fi
  return "$status"
}
