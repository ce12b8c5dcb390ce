# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev pages [--only REGEX] [--record] [BYTES...]`.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/kernels.sh"

pages_usage() {
  cat <<END
Usage: ./dev pages [--only REGEX] [--record] [BYTES...]

Runs the unit tests as if this machine's pages had BYTES bytes (default: 16384 65536), as those of
a Raspberry Pi 5, of Apple's and of some servers' have. tools/dev/places/large_pages.c, a library that each
program and each worker is linked with, answers for the kernel: sizes, alignment, and EINVAL for what is not aligned.
--record writes docs/runs/pages.md. Exit code: 0 if nothing failed.
END
}

# large_pages FILE BYTES: the library, which has its size of pages built in: a worker has no environment.
large_pages() {
  gcc -O2 -Wall -Wextra -Werror -shared -fPIC -DPARLEY_PAGE_BYTES="$2" -o "$1.new" "$PLACES/large_pages.c" -ldl
  mv "$1.new" "$1"
}

run_pages() {
  local revision # of what is built, and not of what is there when it ends
  revision="$(git_revision)"
  local only="" record=0 sizes=() size folder report=() status=0
  while (($#)); do
    case "$1" in
      --only) only="$2" && shift ;;
      --record) record=1 ;;
      --help | -h) pages_usage && return ;;
      -*) die "pages has no flag '$1'" ;;
      *) sizes+=("$1") ;;
    esac
    shift
  done
  ((${#sizes[@]})) || sizes=(16384 65536)
  folder="$(cache_dir)/pages"
  say gcc -shared tools/dev/places/large_pages.c
  mkdir -p "$folder"
  # Of this machine's own size while things are built: what the build runs is not what is tried.
  large_pages "$folder/large_pages.so" "$(getconf PAGESIZE)"
  built_tests pages "$folder/tests" "$only" --linkopt="$folder/large_pages.so"
  for size in "${sizes[@]}"; do
    say run_cases.py "# pages of $size bytes"
    large_pages "$folder/large_pages.so" "$size"
    python3 -B "$PLACES/run_cases.py" --tree "$folder/tests" --out "$folder/$size.events" --tries "$TRIES" || status=1
    report+=("$size=pages=$folder/$size.events")
  done
  echo
  python3 -B "$PLACES/report.py" --manifest "$folder/tests/manifest.json" "${report[@]}" || status=1
  if ((record)); then
    mkdir -p "$PARLEY_ROOT/docs/runs"
    python3 -B "$PLACES/report.py" --markdown --title "The tests with larger pages, simulated" \
      --command "./dev pages --record${only:+ --only $only} ${sizes[*]}" --commit "$revision" \
      --note "Simulated by \`tools/dev/places/large_pages.c\` on this machine's kernel, whose own pages have $(getconf PAGESIZE) bytes; no machine with such pages has run it." \
      --manifest "$folder/tests/manifest.json" "${report[@]}" >"$PARLEY_ROOT/docs/runs/pages.md" || true
    echo "dev: wrote docs/runs/pages.md" >&2
  fi
  return "$status"
}
