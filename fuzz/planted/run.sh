#!/usr/bin/env bash
# Plants one bug at a time in a copy of the tree and prints which input of which fuzz target finds it:
# a seed of the corpus, and fuzzing that starts from nothing. Fails if a bug is found by neither.
#
#   fuzz/planted/run.sh [--time SECONDS] [--seeds-only] [PATCH...]
#
# PLANTED_DIR keeps the copy, the builds and the inputs that were found (default: a temporary folder,
# removed at the end); PLANTED_BAZEL_FLAGS goes to bazel build.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
seconds=60
fuzz=1
patches=()
while (($#)); do
  case "$1" in
    --time) seconds="${2:?--time wants seconds}" && shift ;;
    --seeds-only) fuzz=0 ;;
    *) patches+=("$(realpath "$1")") ;;
  esac
  shift
done
((${#patches[@]})) || patches=("$here"/*.patch)

work="${PLANTED_DIR:-$(mktemp -d)}"
[[ -n "${PLANTED_DIR:-}" ]] || trap 'bazel_in_copy shutdown >/dev/null 2>&1; chmod -R u+w "$work"; rm -rf "$work"' EXIT
rm -rf "$work/tree"
mkdir -p "$work/tree" "$work/found"
(cd "$root" && git ls-files -z | tar --null --ignore-failed-read -T - -c) | tar -x -C "$work/tree"
[[ ! -f "$root/user.bazelrc" ]] || cp "$root/user.bazelrc" "$work/tree/"

bazel_in_copy() { (cd "$work/tree" && bazel --output_base="$work/bazel" "$@"); }
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

# The last input that was begun, if the run did not end well.
by_seed() {
  local log="$work/log"
  if "$1" -timeout=10 "$work/tree/fuzz/corpus/$2"/* >"$log" 2>&1; then return 1; fi
  basename "$(grep '^Running: ' "$log" | tail -n 1 | cut -d' ' -f2)"
}

by_fuzzing() {
  local started=$SECONDS found="$work/found/$3"
  local dictionary=()
  [[ ! -f "$work/tree/fuzz/$2.dict" ]] || dictionary=("-dict=$work/tree/fuzz/$2.dict")
  if "$1" "${dictionary[@]}" -timeout=10 -rss_limit_mb=2048 -max_total_time="$seconds" -exact_artifact_path="$found" \
    >"$work/log" 2>&1; then
    return 1
  fi
  echo "$((SECONDS - started)) s"
}

missed=0
printf '%-32s %-26s %-40s %s\n' bug target 'found by seed' 'found from nothing in'
for patch in "${patches[@]}"; do
  name="$(basename "$patch" .patch)"
  target="$(sed -n 's/^Target: //p' "$patch")"
  patch -s -p1 -d "$work/tree" <"$patch"
  # shellcheck disable=SC2086
  if ! bazel_in_copy build --config=fuzz --define=parley_werror=0 ${PLANTED_BAZEL_FLAGS:-} "//fuzz:$target" >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    exit 1
  fi
  bin="$(bazel_in_copy info --config=fuzz --define=parley_werror=0 ${PLANTED_BAZEL_FLAGS:-} bazel-bin 2>/dev/null)/fuzz/$target"
  seed="$(by_seed "$bin" "$target")" || seed=-
  fuzzed=-
  ((!fuzz)) || fuzzed="$(by_fuzzing "$bin" "$target" "$name")" || fuzzed=-
  [[ "$seed$fuzzed" != -- ]] || missed=1
  printf '%-32s %-26s %-40s %s\n' "$name" "$target" "$seed" "$fuzzed"
  patch -s -R -p1 -d "$work/tree" <"$patch"
done
exit "$missed"
