# SPDX-License-Identifier: Apache-2.0
# Sourced by ./dev: `dev damaged [--files-of-each N] [--first-seed S] [--record]`.

damaged_usage() {
  cat <<END
Usage: ./dev damaged [--files-of-each N] [--first-seed S] [--record]

Damages N (default: 40) copies of each of some 36 small films and pictures, the same way for the same
seed, and gives them to parley-thumb, for pictures and for facts. Each has to end as a picture or as a
reason, the undamaged ones among them as the picture that is decoded without a sandbox, and the host
has to hold nothing afterwards. --record writes docs/runs/damaged.md. Exit code: 0 if there is no fault.
END
}

run_damaged() {
  local revision record=0 arguments=() count=40 seed=1 table status=0
  revision="$(git_revision)"
  while (($#)); do
    case "$1" in
      --files-of-each) count="$2" && shift ;;
      --first-seed) seed="$2" && shift ;;
      --record) record=1 ;;
      --help | -h) damaged_usage && return ;;
      *) die "damaged does not know '$1'; see ./dev damaged --help" ;;
    esac
    shift
  done
  arguments=(--files-of-each "$count" --first-seed "$seed")
  cd "$PARLEY_ROOT"
  say bazel build //thumb:damaged
  # shellcheck disable=SC2046
  bazel_with gcc build $(progress_flags) //thumb:damaged
  table="$(mktemp)"
  say damaged "${arguments[@]}"
  "$(bazel_with gcc info bazel-bin 2>/dev/null)/thumb/damaged" "${arguments[@]}" --markdown "$table" || status=1
  if ((record)) && [[ ! -s "$table" || "$status" != 0 ]]; then
    echo "dev: not recorded, since a fault was found" >&2
  elif ((record)); then
    {
      echo "# Damaged files through parley-thumb"
      echo
      echo "\`./dev damaged --record${arguments[*]:+ ${arguments[*]}}\`, commit $revision, $(date -u +%F), Linux $(uname -r)."
      echo
      cat "$table"
      echo
      echo "A picture that is made of a damaged file is right where libav could decode it. Each undamaged file's picture was"
      echo "compared with the one that is decoded without a sandbox; after the run the host held no descriptor, mapping or"
      echo "process more than before."
    } >docs/runs/damaged.md
    echo "dev: wrote docs/runs/damaged.md" >&2
  fi
  rm -f "$table"
  return "$status"
}
