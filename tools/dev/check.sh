# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev check`, the steps of CHECK_STEPS. A failing step does not stop the others.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/format.sh"
# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/test.sh"

step_format() { check_cxx_format; }
step_buildifier() { check_build_files; }
step_lint() { lint --self-test && lint; }
step_gcc() { test_everything gcc; }
# layering_check is a feature of every target and works with clang alone.
step_clang() { test_everything clang --config=clang //...; }
step_asan() { test_everything clang --config=asan //...; }
step_tsan() { test_everything clang --config=tsan //...; }

step_tidy() {
  cd "$PARLEY_ROOT"
  local log status=0
  log="$(cache_dir)/tidy.log"
  say bazel build --config=tidy //...
  # shellcheck disable=SC2046
  bazel_with clang build $(progress_flags) --keep_going --config=tidy //... 2>&1 | tee "$log" \
    | awk -f "$PARLEY_ROOT/tools/dev/tidy_findings.awk" || status=1
  ((status == 0)) || echo "dev: the whole of it is in $log" >&2
  return "$status"
}

run_check() {
  local step steps=("$@") table=() failed=0
  ((${#steps[@]})) || steps=("${CHECK_STEPS[@]}")
  for step in "${steps[@]}"; do
    declare -F "step_$step" >/dev/null || die "check has no step '$step'; it has: ${CHECK_STEPS[*]}"
  done
  need_packages check
  mkdir -p "$(cache_dir)"
  for step in "${steps[@]}"; do
    local started=$SECONDS verdict=PASS
    echo "=== $step" >&2
    # A shell of its own, so that `set -e` holds inside (it doesn't in a condition).
    "$PARLEY_ROOT/dev" --step "$step" </dev/null || { verdict=FAIL && failed=1; }
    table+=("$(printf '%-12s %5d s  %s' "$step" $((SECONDS - started)) "$verdict")")
  done
  echo
  printf '%s\n' "${table[@]}"
  return "$failed"
}
