# SPDX-License-Identifier: Apache-2.0
# Sourced by ./dev: `dev damaged [--files-of-each N] [--first-seed S] [--in-container] [--record]`.

damaged_usage() {
  cat <<END
Usage: ./dev damaged [--files-of-each N] [--first-seed S] [--in-container] [--record]

Damages N (default: 40) copies of each of some 36 small films and pictures, the same way for the same
seed, and gives them to parley-thumb, for pictures and for facts. Each has to end as a picture or as a
reason, the undamaged ones among them as the picture that is decoded without a sandbox, and the host
has to hold nothing afterwards. --in-container: there alone, as user 1000, by
../shared/containers/run-in-container (as root). --record: here and then there, into
docs/runs/damaged.md. Exit code: 0 if there is no fault.
END
}

# damaged_here FOLDER TABLE ARGUMENTS...: FOLDER has thumb/damaged and what it needs.
damaged_here() {
  local folder="$1" table="$2"
  shift 2
  (cd "$folder" && thumb/damaged "$@" --markdown "$table")
}

damaged_in_container() {
  local folder="$1" table="$2"
  shift 2
  "$PARLEY_ROOT/../shared/containers/run-in-container" --ro "$folder:/app" -- /bin/sh -c \
    "cd /app && env -i PATH=/usr/bin:/bin HOME=/tmp TMPDIR=/tmp thumb/damaged $* --markdown /tmp/table >&2
     status=\$?; cat /tmp/table; exit \$status" >"$table"
}

run_damaged() {
  local revision record=0 arguments=() count=40 seed=1 folder places=(here) place status=0
  revision="$(git_revision)"
  while (($#)); do
    case "$1" in
      --files-of-each) count="$2" && shift ;;
      --first-seed) seed="$2" && shift ;;
      --in-container) places=(in_container) ;;
      --record) record=1 places=(here in_container) ;;
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
  folder="$(mktemp -d)"
  # shellcheck disable=SC2064
  trap "rm -rf '$folder'" EXIT
  chmod 755 "$folder"
  mkdir "$folder/thumb"
  install -m 755 thumb/make_media.sh "$(bazel_with gcc info bazel-bin 2>/dev/null)"/thumb/{damaged,thumb_worker} "$folder/thumb"
  for place in "${places[@]}"; do
    say damaged "${arguments[@]}" "# ${place/_/ }"
    "damaged_$place" "$folder" "$folder/$place" "${arguments[@]}" || status=1
  done
  if ((record)) && [[ "$status" != 0 ]]; then
    echo "dev: not recorded, since a fault was found" >&2
  elif ((record)); then
    {
      echo "# Damaged files through parley-thumb"
      echo
      echo "\`./dev damaged --record ${arguments[*]}\`, commit $revision, $(date -u +%F), Linux $(uname -r)."
      echo
      echo "A picture that is made of a damaged file is right where libav could decode it. Each undamaged file's picture was"
      echo "compared with the one that is decoded without a sandbox; after the run the host held no descriptor, mapping or"
      echo "process more than before."
      echo
      echo "## On the machine itself, as user $(id -un)"
      echo
      cat "$folder/here"
      echo
      echo "## In a container: Docker's filter, user 1000, no namespaces"
      echo
      cat "$folder/in_container"
    } >docs/runs/damaged.md
    echo "dev: wrote docs/runs/damaged.md" >&2
  fi
  return "$status"
}
