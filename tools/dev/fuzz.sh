# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev fuzz [TARGET...] [--time CPU_SECONDS] [--jobs N] [--record] [-libfuzzer_flags]`.

fuzz_bazel() { (cd "$PARLEY_ROOT" && bazel_with clang "$@"); }

fuzz_query() { fuzz_bazel query --noshow_progress "$@" 2>/dev/null; }

# The labels of the fuzz targets that were named, or of all.
fuzz_labels() {
  local all label name word found
  all="$(fuzz_query 'attr(tags, "\bfuzz-test\b", kind(cc_test, //...))')"
  local words="${*:-$all}"
  for word in $words; do
    found=0
    for label in $all; do
      name="${label##*:}"
      [[ "$word" == "$name" || "$word" == "$label" ]] || continue
      echo "$label"
      found=1
    done
    ((found)) || die "no fuzz target '$word'; there are: ${all//$'\n'/ }"
  done
}

run_fuzz() {
  local seconds=60 jobs=1 record=0 wanted=() flags=()
  while (($#)); do
    case "$1" in
      --time) seconds="${2:?--time wants seconds}" && shift ;;
      --time=*) seconds="${1#--time=}" ;;
      --jobs) jobs="${2:?--jobs wants a number}" && shift ;;
      --jobs=*) jobs="${1#--jobs=}" ;;
      --record) record=1 ;;
      -*) flags+=("--flags=$1") ;;
      *) wanted+=("$1") ;;
    esac
    shift
  done
  [[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "--time wants whole seconds, not '$seconds'"
  [[ "$jobs" =~ ^[1-9][0-9]*$ ]] || die "--jobs wants a number, not '$jobs'"

  local labels dictionaries folder bin graph corpora
  ((record)) && wanted=() # the table has them all
  labels="$(fuzz_labels "${wanted[@]}")"
  [[ -n "$labels" ]] || die "no fuzz targets"
  # shellcheck disable=SC2206 # labels have no blanks
  labels=($labels)
  folder="$(cache_dir)/fuzz"
  mkdir -p "$folder"
  # In memory, since two of these may run at once.
  graph="$(fuzz_query --output=graph --nograph:factored --noimplicit_deps "deps(set(${labels[*]}))")"
  if ((record)); then
    exec python3 -B "$PARLEY_ROOT/tools/dev/fuzz_record.py" --root "$PARLEY_ROOT" --graph <(echo "$graph") \
      --new "$folder/results.tsv" --results "$PARLEY_ROOT/fuzz/results.tsv" \
      --document "$PARLEY_ROOT/docs/FUZZING.md" "${labels[@]}"
  fi
  dictionaries="$(fuzz_query "filter('_dict\$', kind(genrule, //...))")"

  say bazel build --config=fuzz "${labels[@]}"
  # shellcheck disable=SC2046,SC2086
  fuzz_bazel build $(progress_flags) --config=fuzz "${labels[@]}" $dictionaries >&2
  bin="$(fuzz_bazel info --config=fuzz bazel-bin 2>/dev/null)"
  corpora="$(fuzz_query --output=build "set(${labels[*]/%/_corpus})")"
  # It is the one that Ctrl-C reaches, and ends what it started.
  exec python3 -B "$PARLEY_ROOT/tools/dev/fuzz_run.py" --root "$PARLEY_ROOT" --bin "$bin" \
    --corpora <(echo "$corpora") --graph <(echo "$graph") --folder "$folder" --results "$folder/results.tsv" \
    --commit "$(git_revision)" --time "$seconds" --jobs "$jobs" "${flags[@]}" "${labels[@]}"
}
