# Sourced by ./dev: `dev bench [NAME] [flags]`.

run_bench() {
  local label name all wanted=""
  if (($#)) && [[ "$1" != -* ]]; then
    wanted="$1"
    shift
  fi
  cd "$PARLEY_ROOT"
  [[ -f bench/BUILD.bazel ]] || die "there is no benchmark in bench/"
  all="$(bazel_with gcc query --noshow_progress 'kind(cc_binary, //bench:*) - attr(tags, manual, //bench:*)' 2>/dev/null)"
  local ran=0
  for label in $all; do
    name="${label##*:}"
    [[ -z "$wanted" || "$wanted" == "$name" ]] || continue
    say bazel run --config=opt "$label" -- "$@"
    # shellcheck disable=SC2046
    bazel_with gcc run $(progress_flags) --config=opt "$label" -- "$@" </dev/null
    ran=1
  done
  ((ran)) || die "no benchmark '$wanted'; there are: $all"
}
