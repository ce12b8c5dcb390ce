# Sourced by ./dev: `dev verify`, the Promela models in verify/.
#
# A model is checked for deadlock and failed assertions, then once for each `ltl` claim that it
# names. A line "// must fail: -DNAME" asks for one more run with that macro, which must find an
# error: a model that can't fail proves nothing.

# spin_errors MODEL CLAIM [-D...]: how many errors spin found; empty if it did not get to the end.
spin_errors() {
  local model="$1" claim="$2" folder log errors
  shift 2
  folder="$(mktemp -d "$(cache_dir)/spin.XXXXXX")"
  log="$(cache_dir)/spin.log"
  (
    cd "$folder"
    spin "$@" -a "$model"
    if [[ -z "$claim" ]]; then
      gcc -O2 -w -DSAFETY -DNOCLAIM -o pan pan.c
      ./pan -m1000000
    else
      gcc -O2 -w -o pan pan.c
      ./pan -m1000000 -a -f -N "$claim"
    fi
  ) >"$log" 2>&1 </dev/null || true
  rm -rf "$folder"
  # A search that was cut short without an error is no proof.
  errors="$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$log")"
  if [[ "$errors" != 0 ]] || ! grep -q 'max search depth too small\|Search not completed' "$log"; then
    echo "$errors"
  fi
}

# spin_run MODEL CLAIM EXPECTED [-D...]: EXPECTED is "none" or "some". Appends to `table`.
spin_run() {
  local model="$1" claim="$2" expected="$3" errors verdict=FAIL
  shift 3
  say spin "$(basename "$model")" "${claim:-no deadlock, no failed assertion}" "$@"
  errors="$(spin_errors "$model" "$claim" "$@")"
  if [[ "$expected" == none && "$errors" == 0 ]]; then verdict=PASS; fi
  if [[ "$expected" == some && "${errors:-0}" != 0 ]]; then verdict=PASS; fi
  table+=("$(printf '%-24s %-28s %-20s %s' "$(basename "$model")" "${claim:-safety}" "$*" \
    "$verdict (errors: ${errors:-the search did not finish}, wanted: $expected)")")
  [[ "$verdict" == PASS ]] || { tail -n 30 "$(cache_dir)/spin.log" >&2 && return 1; }
}

run_verify() {
  local model claim flags table=() failed=0 models=("$PARLEY_ROOT"/verify/*.pml)
  [[ -f "${models[0]}" ]] || die "there is no model in verify/"
  mkdir -p "$(cache_dir)"
  for model in "${models[@]}"; do
    spin_run "$model" "" none || failed=1
    for claim in $(sed -n 's/^ltl \([A-Za-z_0-9]*\).*/\1/p' "$model"); do
      spin_run "$model" "$claim" none || failed=1
    done
    while read -r flags; do
      # shellcheck disable=SC2086
      spin_run "$model" "" some $flags || failed=1
    done < <(sed -n 's|^// must fail: *\(-D.*\)|\1|p' "$model")
  done
  echo
  printf '%s\n' "${table[@]}"
  return "$failed"
}
