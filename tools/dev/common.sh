# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: the cache folder, what is printed, and Bazel.

readonly CHECK_STEPS=(format buildifier lint gcc clang tidy asan tsan)

# A consumer's or a user's compiler settings must not leak into which compiler a verb means.
unset CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS

say() { echo "+ $*" >&2; }

die() {
  echo "dev: $*" >&2
  exit 1
}

cache_root() {
  if [[ -n "${PARLEY_CACHE:-}" ]]; then
    echo "$PARLEY_CACHE"
  elif [[ -n "${XDG_CACHE_HOME:-}" ]]; then
    echo "$XDG_CACHE_HOME/parley"
  elif [[ -n "${HOME:-}" ]]; then
    echo "$HOME/.cache/parley"
  else
    echo "/var/tmp/parley-cache-$(id -u)" # HOME may be missing, in CI for one
  fi
}

# Two checkouts on one machine must not fight over one output base. Short, because tests make
# Unix sockets below it and their paths have 108 bytes.
cache_dir() { echo "$(cache_root)/$(printf '%s' "$PARLEY_ROOT" | sha256sum | cut -c1-8)"; }

# bazel_with BASE VERB ARGS...: one output base, and so one server, per compiler and workspace:
# switching is free. Runs in the current folder's workspace.
bazel_with() {
  local base="$1"
  shift
  mkdir -p "$(cache_dir)/bazel/$base"
  HOME="${HOME:-$(cache_dir)}" bazel --output_user_root="$(cache_root)/bazel" \
    --output_base="$(cache_dir)/bazel/$base" --max_idle_secs=900 "$@"
}

# Of what is checked out, for the head of a recorded result.
git_revision() {
  local revision
  revision="$(git -C "$PARLEY_ROOT" rev-parse --short=12 HEAD 2>/dev/null)" || revision=unknown
  git -C "$PARLEY_ROOT" diff --quiet HEAD 2>/dev/null || revision+=" with changes"
  echo "$revision"
}

# A person sees a progress line; a log gets one line each half minute, so that it isn't silent.
progress_flags() {
  if [[ -t 2 ]]; then
    echo --show_progress
  else
    echo --show_progress --show_progress_rate_limit=30 --curses=no
  fi
}

lint() {
  say python3 -B tools/lint/lint.py "$@"
  python3 -B "$PARLEY_ROOT/tools/lint/lint.py" --root "$PARLEY_ROOT" "$@" || return
  python3 -B "$PARLEY_ROOT/fuzz/make_seeds.py" --check || return
  [[ "$*" == --self-test ]] || return 0
  local part
  for part in named_runs fuzz_record; do
    python3 -B "$PARLEY_ROOT/tools/dev/$part.py" --self-test || return
  done
}
