# SPDX-License-Identifier: Apache-2.0

# Sourced by tools/dev/test.sh: what `./dev install` installs serves a Makefile and a CMake project.

# installed_test COMPILER PREFIX FLAGS: both projects of examples/installed, each also run.
installed_test() {
  local compiler="$1" prefix="$2" flags="-std=$3 -O1 -Wall -Wextra -Werror" work
  work="$(mktemp -d "$prefix/work.XXXXXX")"
  cp "$PARLEY_ROOT"/examples/installed/* "$work"
  (
    cd "$work"
    export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"
    make -s CXX="$compiler" CXXFLAGS="$flags" all
    installed_run .
    cmake -S . -B build -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix" \
      -DCMAKE_CXX_FLAGS="$flags" >cmake.log || { cat cmake.log && false; }
    cmake --build build >>cmake.log || { cat cmake.log && false; }
    installed_run build
  )
}

installed_run() {
  local said
  "$1/greeting" "$1/socket" >"$1/said" &
  until [[ -S "$1/socket" ]]; do kill -0 $! 2>/dev/null && sleep 0.05; done
  "$1/greeting" "$1/socket" hello
  wait $!
  said="$(cat "$1/said")"
  [[ "$said" == hello ]] || { echo "greeting printed '$said'" && false; }
  said="$("$1/confined" /bin/true)"
  [[ "$said" == *"ended normally"* || "$said" == *"exit code 0"* ]] \
    || { echo "confined printed '$said'" && false; }
}

# thumb_installed_test PREFIX: the installed program finds its worker, and its entry names it.
thumb_installed_test() {
  local prefix="$1" magic
  ffmpeg -hide_banner -loglevel error -nostdin -y -f lavfi -i testsrc2=size=64x48:duration=0.1 \
    -frames:v 1 "$prefix/in.png"
  "$prefix/bin/parley-thumb" --size 32 --output "$prefix/out.png" "$prefix/in.png"
  magic="$(head -c 4 "$prefix/out.png" | od -An -tx1 | tr -d ' ')"
  [[ "$magic" == 89504e47 ]] || { echo "parley-thumb wrote '$magic'" && false; }
  grep -q '^Exec=parley-thumb .*%o %i$' "$prefix/share/thumbnailers/parley-thumb.thumbnailer"
}

# refused_test COMPILER PREFIX: where Parley cannot be built, the first error is a sentence of ours.
refused_test() {
  local compiler="$1" prefix="$2" header case said
  for header in channel/channel.h channel/bulk.h handshake/options.h; do
    for case in "C++20:-std=c++17" "64-bit system:-std=c++20 -U__LP64__" \
      "lock-free 64-bit atomics:-std=c++20 -U__GCC_ATOMIC_LLONG_LOCK_FREE -D__GCC_ATOMIC_LLONG_LOCK_FREE=1"; do
      # The flags are several words.
      # shellcheck disable=SC2086
      said="$(echo "#include <parley/$header>" | "$compiler" ${case#*:} -I"$prefix/include" \
        -fsyntax-only -x c++ - 2>&1 | grep -m1 error:)" || true
      [[ "$said" == *"Parley needs"*"${case%%:*}"* ]] \
        || { echo "$compiler ${case#*:} says of $header: $said" && return 1; }
    done
  done
}

# test_installed REPORT: a line of JSON for each combination of compiler and flags.
test_installed() {
  local report="$1" prefix compiler flags status=0
  prefix="$(mktemp -d "$(cache_dir)/install.XXXXXX")"
  if ! run_install --prefix "$prefix" >"$prefix.log" 2>&1; then
    tail -n 20 "$prefix.log"
    echo '{"test": "./dev install", "passed": false}' >>"$report"
    rm -rf "$prefix" "$prefix.log"
    return 1
  fi
  local compilers=(g++)
  ! command -v clang++-19 >/dev/null || compilers+=(clang++-19)
  for compiler in "${compilers[@]}"; do
    for flags in c++20 "c++23 -fno-exceptions -fno-rtti"; do
      local passed=true
      # A shell of its own, so that `set -e` holds inside.
      # shellcheck disable=SC2016
      bash -c 'set -euo pipefail; PARLEY_ROOT="$1"; source "$2"; shift 2; installed_test "$@"' - \
        "$PARLEY_ROOT" "$PARLEY_ROOT/tools/dev/install_test.sh" "$compiler" "$prefix" "$flags" \
        || { passed=false && status=1; }
      echo "{\"test\": \"examples/installed with $compiler -std=$flags\", \"passed\": $passed}" >>"$report"
    done
    local refused=true
    refused_test "$compiler" "$prefix" || { refused=false && status=1; }
    echo "{\"test\": \"what $compiler cannot build is refused in a sentence\", \"passed\": $refused}" >>"$report"
  done
  local made=true
  # shellcheck disable=SC2016
  bash -c 'set -euo pipefail; PARLEY_ROOT="$1"; source "$2"; thumb_installed_test "$3"' - \
    "$PARLEY_ROOT" "$PARLEY_ROOT/tools/dev/install_test.sh" "$prefix" || { made=false && status=1; }
  echo "{\"test\": \"the installed parley-thumb\", \"passed\": $made}" >>"$report"
  rm -rf "$prefix" "$prefix.log"
  return "$status"
}
