# Sourced by ./dev: `dev fuzz [TARGET...] [--time SECONDS] [-libfuzzer_flags]`.

fuzz_bazel() { (cd "$PARLEY_ROOT" && bazel_with clang "$@"); }

# The source files of a filegroup, as paths from the root.
fuzz_files() {
  fuzz_bazel query --noshow_progress "kind('source file', deps($1, 1))" 2>/dev/null \
    | sed -e 's|^//:||' -e 's|^//||' -e 's|:|/|'
}

run_fuzz() {
  local seconds=60 wanted=() flags=()
  while (($#)); do
    case "$1" in
      --time) seconds="${2:?--time wants seconds}" && shift ;;
      --time=*) seconds="${1#--time=}" ;;
      -*) flags+=("$1") ;;
      *) wanted+=("$1") ;;
    esac
    shift
  done
  [[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "--time wants whole seconds, not '$seconds'"

  local label name labels=() all
  all="$(fuzz_bazel query --noshow_progress 'attr(tags, "\bfuzz-test\b", kind(cc_test, //...))' 2>/dev/null)"
  for label in $all; do
    name="${label##*:}"
    if ((${#wanted[@]} == 0)) || [[ " ${wanted[*]} " == *" $name "* || " ${wanted[*]} " == *" $label "* ]]; then
      labels+=("$label")
    fi
  done
  if ((${#labels[@]} == 0)) || ((${#wanted[@]} > ${#labels[@]})); then
    die "no such fuzz target: ${wanted[*]:-any}; there are: ${all:-none}"
  fi

  say bazel build --config=fuzz "${labels[@]}"
  # shellcheck disable=SC2046
  fuzz_bazel build $(progress_flags) --config=fuzz "${labels[@]}" >&2
  local bin table=() failed=0
  bin="$(fuzz_bazel info --config=fuzz bazel-bin 2>/dev/null)"
  for label in "${labels[@]}"; do
    fuzz_one "$label" "$bin" "$seconds" "${flags[@]}" || failed=1
  done
  echo
  printf '%s\n' "${table[@]}"
  return "$failed"
}

# Appends to the caller's `table`. The work corpus and what crashed stay in the cache folder.
fuzz_one() {
  local label="$1" bin="$2" seconds="$3"
  shift 3
  local name="${label##*:}" package="${label#//}" folder file dictionary=() log verdict=PASS started
  package="${package%%:*}"
  folder="$(cache_dir)/fuzz/$name"
  log="$folder/log"
  rm -rf "$folder/seeds"
  mkdir -p "$folder/seeds" "$folder/work" "$folder/crashes"
  while read -r file; do
    cp "$PARLEY_ROOT/$file" "$folder/seeds/$(sha256sum <"$PARLEY_ROOT/$file" | cut -c1-16)"
  done < <(fuzz_files "$label""_corpus")
  while read -r file; do
    dictionary=("-dict=$PARLEY_ROOT/$file")
  done < <(fuzz_files "$label""_dict")

  started=$SECONDS
  echo "=== $name: $(find "$folder/seeds" -type f | wc -l) seeds, $(find "$folder/work" -type f | wc -l) found before" >&2
  local command=("$bin/$package/$name" -max_total_time="$seconds" -print_final_stats=1 -timeout=10
    -rss_limit_mb=2048 -artifact_prefix="$folder/crashes/" "${dictionary[@]}" "$@"
    "$folder/work" "$folder/seeds")
  say "${command[@]}"
  ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "${command[@]}" 2>&1 </dev/null | tee "$log" >&2 \
    || verdict="FAIL: input in $folder/crashes; add it to the corpus once it is fixed"
  table+=("$(printf '%-28s %5d s %10s runs  cov %s  %s' "$name" $((SECONDS - started)) \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)" "$verdict")")
  [[ "$verdict" == PASS ]]
}
