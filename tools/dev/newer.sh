# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev newer [--only REGEX] [--record] [VARIANT...]`.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/plain.sh"

readonly NEWER_PACKAGES=(
  g++ clang libc++-dev ninja-build pkg-config googletest libabsl-dev libseccomp-dev python3 strace binutils procps
)
# What libcxx checks: the folders of the library, without tests and applications.
readonly LIBRARY_FOLDERS=(
  os boundary sealing shm ring wait handshake channel frames media sandbox wait_set patterns supervise
)
readonly NEWER_VARIANTS=(gcc hugetlb cxx23 libcxx)

newer_usage() {
  cat <<END
Usage: ./dev newer [--only REGEX] [--record] [VARIANT...]

The library and its tests with what Debian 13 has, in a root of its own, on this machine's kernel; with -O2 and our
warnings as errors.

  gcc       g++ 14, glibc 2.41, its Abseil and libseccomp 2.6
  hugetlb   the same programs with GLIBC_TUNABLES=glibc.malloc.hugetlb=1: malloc calls madvise
  cxx23     as C++23, with -O1
  libcxx    clang 19 with libc++, sources of the library alone, not linked (Debian's Abseil is built for libstdc++)

Without VARIANT: all. --record writes docs/runs/newer.md. Exit code: 0 if everything was built and nothing failed.
END
}

# newer_build FOLDER FLAGS: with g++.
newer_build() {
  local libs
  # shellcheck disable=SC2046
  libs="$(in_root trixie -- pkg-config --libs $(plain_libraries))"
  plain_build trixie "$1" trixie --compiler g++ "--flags=$2" "--test-flags=$PLAIN_TEST_FLAGS" --libs "$libs"
}

newer_run() {
  local folder="$1" events="$2"
  shift 2
  say run_cases.py "# in trixie" "$@"
  in_root trixie "$folder:/build" -- \
    python3 -B /build/tree/run_cases.py --tree /build/tree --out "/build/$events" --tries 3 "$@"
}

# Each source of the library alone, checked by clang against libc++.
newer_libcxx() {
  local folder="$1" sources
  # shellcheck disable=SC2016 # $all is the query's
  sources="$(cd "$PARLEY_ROOT" && bazel_with gcc query --noshow_progress \
    "let all = kind(cc_library, set($(printf '//%s/... ' "${LIBRARY_FOLDERS[@]}"))) in "'labels(srcs, $all except attr(testonly, 1, $all))' \
    2>/dev/null | grep '\.cc$' | sed 's,^//,,; s,:,/,' | sort -u)"
  say clang++ -stdlib=libc++ -fsyntax-only "# $(wc -l <<<"$sources") sources"
  mkdir -p "$folder/include"
  ln -sfn /src "$folder/include/parley"
  # shellcheck disable=SC2016
  in_root trixie "$PARLEY_ROOT:/src" "$folder:/build" -- bash -c '
    printf "%s\n" "$@" | xargs -P "$(nproc)" -I@ clang++ -std=c++20 -stdlib=libc++ -O2 -fsyntax-only -Wall -Wextra \
      -Wconversion -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wundef -Wvla -Werror -I /build/include /src/@
  ' libcxx $sources
}

run_newer() {
  local revision # of what is built, and not of what is there when it ends
  revision="$(git_revision)"
  local only="" record=0 variants=() variant folder status=0 report=() built="" notes=()
  while (($#)); do
    case "$1" in
      --only) only="$2" && shift ;;
      --record) record=1 ;;
      --help | -h) newer_usage && return ;;
      -*) die "newer has no flag '$1'" ;;
      *) variants+=("$1") ;;
    esac
    shift
  done
  ((${#variants[@]})) || variants=("${NEWER_VARIANTS[@]}")
  folder="$(cache_dir)/newer"
  make_root trixie trixie "$(dpkg --print-architecture)" "${NEWER_PACKAGES[@]}"
  plain_query "$folder/gcc" trixie "$only"
  for variant in "${variants[@]}"; do
    case "$variant" in
      gcc | hugetlb)
        [[ -n "$built" ]] || newer_build "$folder/gcc" -O2 || status=1
        built=1
        local tunables=()
        [[ "$variant" == gcc ]] || tunables=(--env GLIBC_TUNABLES=glibc.malloc.hugetlb=1)
        newer_run "$folder/gcc" "$variant.events" ${tunables[@]+"${tunables[@]}"} || status=1
        report+=("$variant=trixie=$folder/gcc/$variant.events")
        ;;
      cxx23)
        mkdir -p "$folder/cxx23"
        cp "$folder/gcc/deps.xml" "$folder/gcc/tests.xml" "$folder/gcc/labels" "$folder/cxx23/"
        newer_build "$folder/cxx23" "-O1 -std=c++23" || status=1
        newer_run "$folder/cxx23" cxx23.events || status=1
        report+=("cxx23=trixie=$folder/cxx23/cxx23.events")
        ;;
      libcxx)
        if newer_libcxx "$folder/libcxx"; then
          notes+=(--note "clang with libc++ compiles every source of the library (not linked: Debian's Abseil is built for libstdc++).")
        else
          status=1
          notes+=(--note "clang with libc++ does NOT compile every source of the library.")
        fi
        ;;
      *) die "newer has no variant '$variant'; it has: ${NEWER_VARIANTS[*]}" ;;
    esac
  done
  local versions
  # shellcheck disable=SC2016
  versions="$(in_root trixie -- dpkg-query -W -f '${Package} ${Version}, ' g++ clang libc6 libabsl-dev libseccomp2 | sed 's/, $//')"
  echo
  echo "$versions"
  ((${#report[@]} == 0)) \
    || python3 -B "$PLACES/report.py" --manifest "$folder/gcc/tree/manifest.json" "${report[@]}" || status=1
  if ((record)); then
    mkdir -p "$PARLEY_ROOT/docs/runs"
    python3 -B "$PLACES/report.py" --markdown --title "The tests with what Debian 13 has" \
      --command "./dev newer --record${only:+ --only $only} ${variants[*]}" --commit "$revision" \
      --note "$versions; with -O2 (cxx23: -O1) and -Werror. hugetlb: the programs of gcc with \`GLIBC_TUNABLES=glibc.malloc.hugetlb=1\`." \
      ${notes[@]+"${notes[@]}"} \
      --manifest "$folder/gcc/tree/manifest.json" "${report[@]}" >"$PARLEY_ROOT/docs/runs/newer.md" || true
    echo "dev: wrote docs/runs/newer.md" >&2
  fi
  return "$status"
}
