# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev format`, and its two read-only halves for `dev check`.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/buildifier.sh"

# find_files PATTERN...: names in the checkout, never in what Bazel or an editor left behind.
find_files() {
  local tests=() pattern
  for pattern in "$@"; do tests+=(-o -name "$pattern"); done
  find . \( -name .git -o -name 'bazel-*' -o -name .cache -o -name node_modules \) -prune \
    -o -type f \( "${tests[@]:1}" \) -print | LC_ALL=C sort
}

cxx_files() { find_files '*.h' '*.cc'; }
build_files() { find_files 'BUILD.bazel' 'WORKSPACE' 'MODULE.bazel' '*.bzl' 'BUILD'; }

format_in_place() {
  cd "$PARLEY_ROOT"
  say clang-format-19 -i
  cxx_files | xargs -r clang-format-19 -i
  say buildifier -mode=fix
  # shellcheck disable=SC2046
  buildifier -mode=fix $(build_files)
}

check_cxx_format() {
  cd "$PARLEY_ROOT"
  local file failed=0
  for file in $(cxx_files); do
    clang-format-19 --dry-run -Werror "$file" 2>/dev/null || { echo "$file: run ./dev format" && failed=1; }
  done
  return "$failed"
}

# Switched off: what asks for the modules of newer Bazels (there is no bzlmod under 4.2.3).
check_build_files() {
  cd "$PARLEY_ROOT"
  # shellcheck disable=SC2046
  buildifier -mode=check -lint=warn -warnings="${BUILDIFIER_WARNINGS:-all}" $(build_files)
}
