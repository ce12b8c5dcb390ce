# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: which Debian packages each verb needs, and installing them.

readonly BUILD_PACKAGES=(
  bazel-bootstrap bazel-rules-java g++ pkg-config python3
  libabsl-dev googletest libseccomp-dev
)
# parley-thumb and the film example, and with them `//...`.
readonly THUMB_PACKAGES=(
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libswresample-dev libpng-dev
)
readonly FILM_PACKAGES=(
  "${THUMB_PACKAGES[@]}" libsdl2-dev
  ffmpeg alsa-utils
)
readonly TEST_PACKAGES=(
  strace procps cmake make
  libglib2.0-dev libuv1-dev # loops that a WaitSet is put into
  xvfb # a screen for the player's window
  runc golang-github-containers-common bubblewrap # a container, and who cannot start there
)
readonly CLANG_PACKAGES=(clang-19 libclang-rt-19-dev llvm-19)
# What Parley is compared with, and what counts and draws.
readonly BENCH_PACKAGES=(
  libzmq3-dev libnng-dev libboost-dev iceoryx libiceoryx-posh-dev libiceoryx-hoofs-dev
  gnuplot-nox valgrind
)
readonly FORMAT_PACKAGES=(clang-format-19 npm ca-certificates) # npm ships buildifier's binary

packages_for() {
  case "$1" in
    demo) echo "${BUILD_PACKAGES[@]}" "${FILM_PACKAGES[@]}" ;;
    test) echo "${BUILD_PACKAGES[@]}" "${FILM_PACKAGES[@]}" "${TEST_PACKAGES[@]}" ;;
    check) echo "$(packages_for test)" "${CLANG_PACKAGES[@]}" clang-tidy-19 "${FORMAT_PACKAGES[@]}" ;;
    lint) echo python3 ;;
    fuzz) echo "${BUILD_PACKAGES[@]}" libpng-dev "${CLANG_PACKAGES[@]}" ;;
    planted) echo "$(packages_for test)" "${CLANG_PACKAGES[@]}" patch "$(packages_for verify)" ;;
    coverage) echo "$(packages_for test)" "${CLANG_PACKAGES[@]}" ;;
    verify) echo spin gcc libc6-dev ;;
    endure) echo "${BUILD_PACKAGES[@]}" ;;
    kernels) echo "${BUILD_PACKAGES[@]}" qemu-system-x86 busybox-static e2fsprogs mmdebstrap ;;
    pages) echo "${BUILD_PACKAGES[@]}" gcc ;;
    arm64) echo "${BUILD_PACKAGES[@]}" qemu-system-arm e2fsprogs mmdebstrap ;;
    newer) echo "${BUILD_PACKAGES[@]}" mmdebstrap ;;
    endure-uml) echo user-mode-linux ;;
    bench) echo "${BUILD_PACKAGES[@]}" "${BENCH_PACKAGES[@]}" ;;
    install) echo "${BUILD_PACKAGES[@]}" "${THUMB_PACKAGES[@]}" ;;
    format) echo "${FORMAT_PACKAGES[@]}" ;;
  esac
}

have_package() {
  case "$1" in
    # Often on the machine without being Debian's package.
    npm | python3) command -v "$1" >/dev/null && return ;;
  esac
  dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

# need_packages VERB: says what it installs, or prints the command and exits with 3.
need_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "dev: no dpkg here, so packages are yours to provide: $(packages_for "$1")" >&2
    return
  fi
  local package missing=()
  for package in $(packages_for "$1"); do
    have_package "$package" || missing+=("$package")
  done
  ((${#missing[@]} == 0)) && return

  local install=(apt-get install -y --no-install-recommends "${missing[@]}")
  local as_root=()
  if (($(id -u) != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "dev: '$1' needs Debian packages that are missing. As root, run:" >&2
      echo "  apt-get update && ${install[*]}" >&2
      exit 3
    fi
    as_root=(sudo)
  fi
  echo "dev: '$1' installs ${#missing[@]} missing Debian packages: ${missing[*]}" >&2
  say "${as_root[@]}" apt-get update
  say "${as_root[@]}" "${install[@]}"
  local log
  log="$(mktemp)"
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  if ! { "${as_root[@]}" apt-get -q update && "${as_root[@]}" "${install[@]}" -q; } \
    >"$log" 2>&1 </dev/null; then
    tail -n 25 "$log" >&2
    rm -f "$log"
    echo "dev: installing failed; nothing was built" >&2
    exit 3
  fi
  rm -f "$log"
}
