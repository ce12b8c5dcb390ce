# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev planted [--quick] [--time SECONDS] [--markdown] [PATCH...]`.
#
# Plants each bug of fuzz/planted/ in a copy of the tree and sees who catches it. A patch says so in
# its first lines:
#
#   Bug: what is wrong
#   Target: NAME                a fuzz target finds it, by a seed or from nothing
#   Test: //PACKAGE:TEST        this test fails, built with g++
#   Case: NAME                  `villain run NAME` is FAIL or WEDGED
#   Sanitizer: CONFIG LABEL     this test fails with --config=CONFIG (tsan, asan)
#   Build: LABEL TEXT           this does not compile, and the compiler says TEXT
#   Model: -DNAME...            the same bug in verify/: a variant that must fail
#
# All of them must; whoever else does is noted.

# copy_tree FOLDER: the files of this checkout, as they are now.
copy_tree() {
  rm -rf "$1"
  mkdir -p "$1"
  (cd "$PARLEY_ROOT" && git ls-files -z | tar --null --ignore-failed-read -T - -c) | tar -x -C "$1"
  if [[ -f "$PARLEY_ROOT/user.bazelrc" ]]; then cp "$PARLEY_ROOT/user.bazelrc" "$1/"; fi
}

run_planted() {
  local work
  work="$(cache_dir)/planted"
  mkdir -p "$work/found"
  copy_tree "$work/tree"
  exec python3 -B "$PARLEY_ROOT/tools/dev/planted.py" --root "$PARLEY_ROOT" --work "$work" \
    --user-root "$(cache_root)/bazel" --commit "$(git_revision)" "$@"
}
