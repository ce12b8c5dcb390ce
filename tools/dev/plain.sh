# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: building and running the tests in a root of their own, where there is no Bazel.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/roots.sh"
readonly PLACES="$PARLEY_ROOT/tools/dev/places"
# Emulated, a program takes ten times as long; its own bounds on time stay as they are.
readonly EMULATED_SCALE=12
readonly TRIES=3
# What g++ says of vectors, matchers and copies that it inlined, in tests alone: none of it is so.
readonly PLAIN_TEST_FLAGS="-Wno-error=array-bounds -Wno-error=free-nonheap-object -Wno-error=mismatched-new-delete"

# The pkg-config names of the libraries that Parley links from Debian.
plain_libraries() {
  grep -oE '"absl/[^"]+": "absl_\w+"' "$PARLEY_ROOT/tools/system_repositories.bzl" | grep -oE 'absl_\w+' | sort -u
  echo libseccomp
}

# plain_query FOLDER PLACE ONLY: what Bazel knows of the programs of that place, in FOLDER.
plain_query() {
  local folder="$1" place="$2" only="$3" expression
  mkdir -p "$folder"
  (
    cd "$PARLEY_ROOT"
    bazel_with gcc query --noshow_progress --output=xml \
      "tests(//...) + //villain:villain + kind(filegroup, //...)" >"$folder/tests.xml" 2>/dev/null
    python3 -B "$PLACES/collect.py" --query "$folder/tests.xml" --place "$place" --only "$only" --labels >"$folder/labels"
    [[ -s "$folder/labels" ]] || die "no program matches"
    expression="deps($(paste -sd+ "$folder/labels")) + kind(filegroup, //...)"
    bazel_with gcc query --noshow_progress --notool_deps --noimplicit_deps --output=xml "$expression" >"$folder/deps.xml" 2>/dev/null
  )
}

# plain_build ROOT FOLDER PLACE [flags of plain_build.py]: in FOLDER/tree, with the root's ninja.
plain_build() {
  local root="$1" folder="$2" place="$3"
  shift 3
  python3 -B "$PLACES/plain_build.py" --query "$folder/deps.xml" --labels "$folder/labels" \
    --source "$PARLEY_ROOT" --build "$folder" --place "$place" "$@"
  say ninja "# in $root"
  in_root "$root" "$PARLEY_ROOT:/src" "$folder:/build" -- ninja -C /build -j "$(nproc)" -k 0 --quiet >&2
}
