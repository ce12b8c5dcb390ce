# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev bench [report|instructions] [flags]`.
#
#   dev bench [--quick] [flags of the program]   measures, prints tables, draws plots
#   dev bench instructions                       counts instructions with callgrind
#   dev bench presets|scale|safety|waiting [--quick]  a study of its own; --help names its flags
#   dev bench media [--quick]                    pictures to another process and to many, beside pipes and memfds
#   dev bench pool [--quick]                     what a fresh confined worker costs, beside fork and exec
#   dev bench report [FOLDER] [--markdown docs | --compare OTHER]   of a run that was made before
#
# Results lie in the cache folder, one folder a run; `last` is a link to the last one.

bench_folder() { echo "$(cache_dir)/bench"; }

# build_bench LABEL SCRIPT: builds optimised, as users do, and writes a script that runs the binary
# without Bazel's server looking on.
build_bench() {
  say bazel build --config=opt "$1"
  # shellcheck disable=SC2046
  bazel_with gcc run $(progress_flags) --config=opt --script_path="$2" "$1" </dev/null
}

bench_report() { python3 -B "$PARLEY_ROOT/bench/report/report.py" "$@"; }

count_instructions() {
  build_bench //bench/instructions:pairs "$1/pairs.sh"
  python3 -B "$PARLEY_ROOT/bench/instructions/instructions.py" \
    "$1/pairs.sh" "$1/instructions.json"
}

# run_study NAME [flags]: its figures go beside those of the last run, whose report shows them.
run_study() {
  local name="$1" out status=0
  shift
  out="$(results_folder "$name")"
  build_bench "//bench/$name" "$out/$name.sh"
  say "$out/$name.sh" "$@"
  trap : INT
  "$out/$name.sh" --out="$out" --commit="$(git_revision)" "$@" || status=$?
  trap - INT
  if [[ -s "$out/$name.json" ]]; then
    [[ "$name" != safety ]] || ((status == 130)) || count_safety "$out" || status=1
    bench_report "$out" --study "$name" || status=1
    echo "all of it is in $out" >&2
  fi
  return "$status"
}

# The last run's, or a new one where there is none.
results_folder() {
  local out
  out="$(bench_folder)/last"
  [[ -d "$out" ]] || out="$(mktemp -d "$(bench_folder)/$1.XXXXXX")"
  echo "$out"
}

count_safety() {
  say count instructions of its cases
  python3 -B "$PARLEY_ROOT/bench/instructions/instructions.py" \
    "$1/safety.sh" "$1/safety_instructions.json" >/dev/null
}

measure() {
  local out="$1" status=0
  shift
  build_bench //bench/competitors:bench "$out/bench.sh"
  say "$out/bench.sh" "$@"
  # Ctrl-C goes to the benchmark, which ends what it started; what it has measured is shown.
  trap : INT
  "$out/bench.sh" --out="$out" --commit="$(git_revision)" "$@" || status=$?
  trap - INT
  if [[ -s "$out/run.json" ]]; then
    ((status == 130)) || count_instructions "$out" >/dev/null || status=1
    bench_report "$out" || status=1
    ln -sfn "$(basename "$out")" "$(bench_folder)/last"
    echo "all of it is in $out" >&2
  fi
  return "$status"
}

# The worker is a program of its own, built beside it.
bench_pool() {
  say bazel build --config=opt //bench/pool:pool //bench/pool:pool_worker //thumb:parley_thumb
  # shellcheck disable=SC2046
  bazel_with gcc build $(progress_flags) --config=opt //bench/pool:pool //bench/pool:pool_worker \
    //thumb:parley_thumb </dev/null
  local bin
  bin="$(bazel_with gcc info --config=opt bazel-bin 2>/dev/null)"
  "$bin/bench/pool/pool" "$bin/bench/pool/pool_worker" "$bin/thumb/parley_thumb" "$@"
}

bench_media() {
  say bazel build --config=opt //bench/media
  # shellcheck disable=SC2046
  bazel_with gcc build $(progress_flags) --config=opt //bench/media </dev/null
  "$(bazel_with gcc info --config=opt bazel-bin 2>/dev/null)/bench/media/media" "$@"
}

bench_usage() {
  cat <<END
Usage: ./dev bench [MODE] [flags]

  ./dev bench [--quick]              everything that moves messages, beside what one would take instead
  ./dev bench presets [--quick]      latency and processor time of each waiting preset, 1 Hz to flat out
  ./dev bench scale [--minutes N]    1 to 1,000 channels, rings of 4 KiB to 1 GiB, flat out for N minutes
  ./dev bench safety [--quick]       what each check and each wall costs, on and off
  ./dev bench waiting [--quick]      a WaitSet with 10 to 10,000 channels, and beside a flood
  ./dev bench pool [--quick]         a fresh confined worker for each job, beside fork and exec, and bwrap
  ./dev bench media [--quick]        pictures to another process and to many, beside pipes and memfds
  ./dev bench instructions           instructions of a send and a receive, by callgrind
  ./dev bench report [FOLDER]        tables and plots again; --markdown docs, --compare FOLDER

Flags of the mode (of the first one if none is named):
END
}

run_bench() {
  cd "$PARLEY_ROOT"
  local argument out
  for argument in "$@"; do
    case "$argument" in
      --list | --help | --helpfull)
        local target=//bench/competitors:bench
        case "${1:-}" in
          presets | scale | safety | waiting) target="//bench/$1" ;;
          *) bench_usage ;;
        esac
        out="$(mktemp -d)"
        build_bench "$target" "$out/bench.sh" && "$out/bench.sh" "$argument" || true
        rm -rf "$out"
        return
        ;;
    esac
  done
  mkdir -p "$(bench_folder)"
  case "${1:-}" in
    report)
      shift
      out="$(bench_folder)/last"
      if (($#)) && [[ "$1" != -* ]]; then
        out="$1"
        shift
      fi
      bench_report "$out" "$@"
      ;;
    instructions)
      count_instructions "$(results_folder instructions)"
      ;;
    presets | scale | safety | waiting)
      run_study "$@"
      ;;
    pool | media)
      "bench_$1" "${@:2}"
      ;;
    *)
      out="$(bench_folder)/$(date -u +%Y%m%dT%H%M%SZ)"
      mkdir "$out"
      measure "$out" "$@"
      ;;
  esac
}
