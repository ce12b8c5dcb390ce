# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev verify [-DNAME...]`, the Promela models in verify/; with names, that one variant.
#
# Each comment line of a model asks for one variant of it:
#
#   // claims: CLAIM...               `ltl` claims of the file
#   // must hold: [-DNAME...]         no deadlock, no failed assertion, and each of these claims holds
#   // must hold (WHAT...): -DNAME... only these: safety (deadlock and assertions), or claims
#   // must fail (WHAT): -DNAME...    WHAT is found: deadlock, assertion, or the name of a claim
#
# A model that can't fail proves nothing, and one that fails for another reason proves little.

readonly VERIFY_MEGABYTES=2000 VERIFY_SECONDS=600 VERIFY_DEPTH=1000000

# verify_build FOLDER MODEL WANTED CLAIM [-D...]: makes FOLDER/pan. CLAIM empty: without claims.
verify_build() {
  local folder="$1" model="$2" wanted="$3" claim="$4" flags=(-w "-DMEMLIM=$VERIFY_MEGABYTES")
  shift 4
  if [[ "$wanted" == holds ]]; then flags+=(-O2); fi # what fails is found before that pays
  if [[ -z "$claim" ]]; then flags+=(-DSAFETY -DNOCLAIM); else flags+=(-DNFAIR=3); fi
  mkdir -p "$folder"
  (cd "$folder" && spin "$@" -a "$model" && gcc "${flags[@]}" -o pan pan.c) >"$folder/log" 2>&1 </dev/null
}

# verify_result LOG: holds, or what was found, or unfinished.
verify_result() {
  case "$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$1")" in
    "") echo unfinished ;;
    # A search that was cut short without an error is no proof.
    0) if grep -qi 'search not completed\|max search depth too small' "$1"; then echo unfinished; else echo holds; fi ;;
    *)
      case "$(grep -m 1 '^pan:1:' "$1")" in
        *"invalid end state"*) echo deadlock ;;
        # A claim is the assertion that its negation never comes true.
        *"acceptance cycle"* | *"assertion violated  !("*) echo claim ;;
        *) echo assertion ;;
      esac
      ;;
  esac
}

# verify_run FOLDER MODEL VARIANT CLAIM WANTED: one row of the table. CLAIM empty: deadlock and
# assertions.
verify_run() {
  local folder="$1" model="$2" variant="$3" claim="$4" wanted="$5" result verdict=PASS
  local log="$folder/log" pan=(./pan "-m$VERIFY_DEPTH") how=-noclaim
  # Weak fairness: whoever can go on for ever does.
  if [[ -n "$claim" ]]; then pan+=(-a -f -N "$claim") how="-ltl $claim"; fi
  (cd "$folder" && timeout "$VERIFY_SECONDS" "${pan[@]}") >"$log" 2>&1 </dev/null || true
  result="$(verify_result "$log")"
  [[ "$result" != claim ]] || result="$claim"
  [[ "$result" == "$wanted" ]] || verdict=FAIL
  printf "$VERIFY_ROW" "$model" "${variant:--}" "${claim:-safety}" "$wanted" "$result" \
    "$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$log")" \
    "$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds.*/\1/p' "$log")" "$verdict"
  if [[ "$verdict" != PASS ]]; then
    grep -i '^pan:\|not completed\|too small' "$log" >&2
    say "to see it: spin $variant -search $how verify/$model.pml;" \
      "spin $variant -k $model.pml.trail -p -g verify/$model.pml"
    return 1
  fi
}
readonly VERIFY_ROW='%-16s %-46s %-12s %-12s %-12s %9s %8s  %s\n'

# verify_variant MODEL WANTED CLAIMS [-D...]: one build for safety, one for all of the claims.
verify_variant() {
  local model="$1" wanted="$2" claims="$3" folder name built="" claim failed=0
  shift 3
  folder="$(cache_dir)/spin"
  name="$(basename "$model" .pml)"
  for claim in $claims; do
    [[ "$claim" != safety ]] || claim=""
    if [[ -z "$built" || -z "$claim" || "$built" == safety ]]; then
      rm -rf "$folder"
      if ! verify_build "$folder" "$model" "$wanted" "$claim" "$@"; then
        tail -n 30 "$folder/log" >&2
        die "$name $*: does not compile"
      fi
      built="${claim:-safety}"
    fi
    verify_run "$folder" "$name" "$*" "$claim" "$wanted" || failed=1
  done
  rm -rf "$folder"
  return "$failed"
}

# verify_lines MODEL WORD [-D...]: its lines for what must hold or fail, of this variant if one is given.
verify_lines() {
  local line
  grep "^// must $2" "$1" | while read -r line; do
    if (($# == 2)) || [[ "$(xargs <<<"${line#*:}")" == "${*:3}" ]]; then echo "$line"; fi
  done
}

run_verify() {
  local model line claims wanted failed=0 rows=0 models=("$PARLEY_ROOT"/verify/*.pml)
  [[ -f "${models[0]}" ]] || die "there is no model in verify/"
  say spin -a MODEL, gcc pan.c, ./pan "-m$VERIFY_DEPTH" "[-a -f -N CLAIM]: for each row"
  printf "$VERIFY_ROW" model variant claim wanted found states seconds ""
  for model in "${models[@]}"; do
    claims="safety $(sed -n 's|^// claims: ||p' "$model")"
    grep -q '^// must hold:' "$model" && grep -q '^// must fail' "$model" \
      || die "$model: names nothing that must hold, or nothing that must fail"
    while read -r line; do
      # shellcheck disable=SC2086
      verify_variant "$model" holds "$(sed -n 's|^// must hold (\([a-z_ ]*\)):.*|\1|p' <<<"$line" \
        | grep . || echo "$claims")" ${line#*:} || failed=1
      rows=$((rows + 1))
    done < <(verify_lines "$model" hold "$@")
    while read -r line; do
      wanted="$(sed -n 's|^// must fail (\([a-z_]*\)):.*|\1|p' <<<"$line")"
      case "$wanted" in
        deadlock | assertion) claims=safety ;;
        *) claims="$wanted" ;;
      esac
      # shellcheck disable=SC2086
      verify_variant "$model" "$wanted" "$claims" ${line#*): } || failed=1
      rows=$((rows + 1))
    done < <(verify_lines "$model" fail "$@")
  done
  ((rows)) || die "no model has a variant '$*'"
  ((failed == 0)) && echo "All as wanted." || echo "Not as wanted: see the rows that say FAIL."
  return "$failed"
}
