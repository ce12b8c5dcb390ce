# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev coverage [--markdown]`.
#
# Line coverage of the folders that meet the peer, by everything that tests them: their own unit
# tests, those of the channel, the two-process tests, the replayed corpora, the villain.

readonly COVERAGE_TESTS=(
  //boundary/... //sealing/... //shm/... //ring/... //handshake/... //frames/...
  //channel/... //testing/... //tests/... //fuzz/... //villain/...
)

coverage_bazel() { (cd "$PARLEY_ROOT" && bazel_with clang "$@"); }

# The programs that the tests are and start, as paths below bazel-bin.
coverage_binaries() {
  local tests="kind('cc_test rule', set(${COVERAGE_TESTS[*]}))"
  coverage_bazel query --noshow_progress \
    "$tests + kind('cc_binary rule', deps($tests)) - attr(tags, '\bfuzz\b', //...)" 2>/dev/null \
    | sed -e 's|^//||' -e 's|:|/|'
}

run_coverage() {
  local markdown=() argument
  for argument in "$@"; do
    [[ "$argument" == --markdown ]] || die "coverage has no argument '$argument'; it has: --markdown"
    markdown=(--markdown)
  done

  local folder bin name failed=0 binaries=()
  folder="$(cache_dir)/coverage"
  rm -rf "$folder"
  mkdir -p "$folder"
  local command=(test --config=coverage --nocache_test_results
    # A file for each process image; children that it forks count in the same one.
    --test_env=LLVM_PROFILE_FILE="$folder/%p%c.profraw" "${COVERAGE_TESTS[@]}")
  say bazel "${command[@]}"
  # shellcheck disable=SC2046
  coverage_bazel test $(progress_flags) "${command[@]:1}" >&2 || failed=1
  ((failed == 0)) || die "a test fails; its coverage says little"

  bin="$(coverage_bazel info --config=coverage bazel-bin 2>/dev/null)"
  while read -r name; do
    [[ ! -x "$bin/$name" ]] || binaries+=("$bin/$name")
  done < <(coverage_binaries)
  ((${#binaries[@]})) || die "no test was built"
  say "llvm-profdata-19 merge, llvm-cov-19 export" of "${#binaries[@]}" programs
  llvm-profdata-19 merge -sparse -o "$folder/all.profdata" "$folder"/*.profraw
  if ((${#markdown[@]})); then coverage_head; fi
  python3 -B "$PARLEY_ROOT/tools/dev/coverage_report.py" --root "$PARLEY_ROOT" \
    --profile "$folder/all.profdata" --reasons "$PARLEY_ROOT/tools/dev/coverage_reasons.txt" \
    "${markdown[@]}" "${binaries[@]}" || failed=1
  rm -rf "$folder"
  return "$failed"
}

coverage_head() {
  cat <<END
# Line coverage

The folders whose code meets the peer, by all tests that reach it: unit tests, two-process tests, the
replayed fuzz corpora and the villain, with clang's source-based coverage (a line counts as reached if
it ran in any instantiation of its template, in any process, killed ones included). Regions are the
stretches of code between two branches, several to a line.

Rendered by \`./dev coverage --markdown\` on $(date -u +%Y-%m-%d), commit $(git_revision). The command fails below 95 % of the
lines of a folder, and where an unreached line has no reason in \`tools/dev/coverage_reasons.txt\`.

END
}
