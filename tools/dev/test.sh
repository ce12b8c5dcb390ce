# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev test`.

# run_bazel_tests BASE REPORT ARGS...: in the current workspace. Bazel's own exit code: 0 passed,
# 3 a test failed, 4 there was no test; anything else is a build that broke.
run_bazel_tests() {
  local base="$1" report="$2"
  shift 2
  rm -f "$report"
  say bazel test "$@"
  # shellcheck disable=SC2046
  bazel_with "$base" test $(progress_flags) --keep_going --build_event_json_file="$report" "$@"
}

# test_everything BASE ARGS...: this workspace, then, if the whole was asked for, the consumer's and
# what ./dev install installs; then what the security documents name must have run. A test that fails
# in a run of the whole is run once more, and named. Ends with the line
# "N passed, N failed[, N skipped]".
test_everything() {
  local base="$1"
  shift
  local reports status=0 whole=1 argument targets=(//...) named=(--named-in "$PARLEY_ROOT")
  local again=(--flaky_test_attempts=2)
  for argument in "$@"; do
    [[ "$argument" == -* ]] || { whole=0 && targets=() && again=(); }
    [[ "$argument" != --test*filter* ]] || named=()
  done
  ((whole)) || named=()
  mkdir -p "$(cache_dir)"
  reports="$(mktemp -d "$(cache_dir)/report.XXXXXX")"

  (cd "$PARLEY_ROOT" && run_bazel_tests "$base" "$reports/1.json" "${again[@]}" "$@" "${targets[@]}") || status=$?
  if ((whole)) && [[ -f "$PARLEY_ROOT/examples/consumer/WORKSPACE" ]]; then
    say cd examples/consumer
    (cd "$PARLEY_ROOT/examples/consumer" \
      && run_bazel_tests "$base-consumer" "$reports/2.json" "${again[@]}" //... \
      && say bazel build --nobuild @parley//... && bazel_with "$base-consumer" build --nobuild @parley//...) \
      || ((status)) || status=$?
    say test examples/installed
    # shellcheck source=/dev/null
    source "$PARLEY_ROOT/tools/dev/install.sh"
    # shellcheck source=/dev/null
    source "$PARLEY_ROOT/tools/dev/install_test.sh"
    test_installed "$reports/installed.jsonl" || ((status)) || status=3
  fi
  echo >&2
  python3 -B "$PARLEY_ROOT/tools/dev/test_report.py" --bazel-status "$status" "${named[@]}" \
    --also "$reports/installed.jsonl" "$reports"/*.json || status=1
  rm -rf "$reports"
  return "$status"
}

run_tests() { test_everything gcc "$@"; }
