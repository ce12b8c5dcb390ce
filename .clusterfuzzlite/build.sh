#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds every fuzz target with ClusterFuzzLite's compiler and flags, from the repository's own build:
# each program to $OUT, with its seeds, its dictionary and the libraries that it needs.
#
# In: CC, CXXFLAGS, LIB_FUZZING_ENGINE, SANITIZER, OUT, WORK, as ClusterFuzzLite sets them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
[[ -f WORKSPACE ]] || cd "$([[ -f ../WORKSPACE ]] && echo .. || echo parley)"

if [[ "$LIB_FUZZING_ENGINE" != -fsanitize=fuzzer ]]; then
  echo "build.sh: the targets link libFuzzer by -fsanitize=fuzzer, not '$LIB_FUZZING_ENGINE'" >&2
  exit 1
fi
if [[ "$SANITIZER" == memory ]]; then
  echo "build.sh: the system's Abseil is not built for the memory sanitizer" >&2
  exit 1
fi

flags=()
for flag in $CXXFLAGS; do
  case "$flag" in
    -stdlib=*) ;; # the system's Abseil is built with libstdc++
    -fsanitize* | -fno-sanitize* | -fprofile* | -fcoverage*) flags+=("--copt=$flag" "--linkopt=$flag") ;;
    *) flags+=("--copt=$flag") ;;
  esac
done
# Bazel links by the C driver; the undefined behaviour sanitizer has a part for C++.
[[ " $CXXFLAGS " != *" -fsanitize="* ]] || flags+=(--linkopt=-fsanitize-link-c++-runtime)

bazel() { command bazel --output_user_root="$WORK/bazel" "$@"; }
options=(
  --action_env=CC="$CC" --repo_env=CC="$CC" --define=parley_fuzz=libfuzzer --define=parley_werror=0
  --dynamic_mode=off --compilation_mode=fastbuild "${flags[@]}"
)

mapfile -t labels < <(bazel query 'attr(tags, "\bfuzz-test\b", kind(cc_test, //fuzz/...))')
mapfile -t dictionaries < <(bazel query "filter('_dict\$', kind(genrule, //fuzz/...))")
bazel build "${options[@]}" "${labels[@]}" "${dictionaries[@]}"
bin="$(bazel info "${options[@]}" bazel-bin)"

mkdir -p "$OUT/lib"
for label in "${labels[@]}"; do
  name="${label##*:}"
  package="${label#//}"
  package="${package%%:*}"
  install -m 755 "$bin/$package/$name" "$OUT/$name"
  zip -q -j -r "$OUT/${name}_seed_corpus.zip" "$package/corpus/$name"
  [[ ! -f "$bin/$package/${name}_merged.dict" ]] \
    || install -m 644 "$bin/$package/${name}_merged.dict" "$OUT/$name.dict"

  # Where the fuzzers run there is libc and nothing more.
  ldd "$OUT/$name" | sed -n 's|^\s*\S* => \(/\S*\) .*|\1|p' | while read -r library; do
    case "${library##*/}" in
      libc.so* | libm.so* | libdl.so* | libpthread.so* | librt.so* | libresolv.so*) ;;
      *) install -m 644 "$library" "$OUT/lib/" ;;
    esac
  done
  # DT_RPATH and not DT_RUNPATH: it holds for what the libraries need as well.
  patchelf --force-rpath --set-rpath "\$ORIGIN/lib" "$OUT/$name"
done

# Bazel compiles in /proc/self/cwd, where the coverage report looks for sources.
if [[ "$SANITIZER" == coverage ]]; then
  mkdir -p "$OUT/proc/self/cwd"
  git ls-files -z '*.h' '*.cc' | xargs -0 cp --parents -t "$OUT/proc/self/cwd"
fi
