# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev demo`.

default_clip() {
  local script="$PARLEY_ROOT/examples/film/make_clip.sh" clip
  clip="$(cache_dir)/clip.mp4"
  if [[ ! -s "$clip" || "$script" -nt "$clip" ]]; then
    mkdir -p "$(cache_dir)"
    say examples/film/make_clip.sh "$clip"
    bash "$script" "$clip.part.mp4" >&2 </dev/null
    mv "$clip.part.mp4" "$clip"
  fi
  echo "$clip"
}

# FILE is the first argument, or there is none: a flag's value elsewhere is not mistaken for it.
run_demo() {
  local arguments=("$@") clip bin
  if (($# == 0)) || [[ "$1" == -* ]]; then
    clip="$(default_clip)"
    arguments=("$clip" "$@")
  fi
  # shellcheck disable=SC2046
  (
    cd "$PARLEY_ROOT"
    say bazel build --config=opt //examples/film
    bazel_with gcc build $(progress_flags) --config=opt //examples/film >&2
  )
  bin="$(cd "$PARLEY_ROOT" && bazel_with gcc info --config=opt bazel-bin 2>/dev/null)"
  say film "${arguments[@]}"
  exec "$bin/examples/film/film" "${arguments[@]}"
}
