# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev mutate [--sample N] [--seed S] [--list] [--prepare | --run] [--again] [--render] [FOLDER...]`.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/planted.sh"

run_mutate() {
  local work
  work="$(cache_dir)/mutate"
  [[ " $* " == *" --render "* || " $* " == *" --run "* ]] || copy_tree "$work/tree"
  exec python3 -B "$PARLEY_ROOT/tools/dev/mutate.py" --root "$PARLEY_ROOT" --work "$work" \
    --user-root "$(cache_root)/bazel" --commit "$(git_revision)" "$@"
}
