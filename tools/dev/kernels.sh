# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev kernels [--only REGEX] [--villain REGEX] [--more] [--record] [VERSION...]`.

# shellcheck source=/dev/null
source "$PARLEY_ROOT/tools/dev/plain.sh"


# What the tests load and start.
readonly GUEST_PACKAGES=(python3-minimal libpython3-stdlib strace binutils procps libseccomp2 libabsl20220623 libstdc++6
  libglib2.0-0 libuv1 libavformat59 libswscale6)
readonly KVM_SCALE=2

kernels_usage() {
  cat <<END
Usage: ./dev kernels [--only REGEX] [--villain REGEX] [--more] [--record] [VERSION...]

Runs the unit tests and the villain's cases in Debian's own kernels, one after the other. VERSION is
'native' (this machine's kernel) or the beginning of a version, such as 6.1 or 6.12: the newest
linux-image-VERSION*-cloud-amd64 that apt knows is downloaded, unpacked and booted in qemu: with KVM where the
processor virtualises (vmx or svm) and /dev/kvm may be opened, else emulated, which takes ten times as long. (A
/dev/kvm without those, as under PVM, interprets the guest's kernel: slower still, so it is not used.)
Without VERSION: native 6.1 6.12. Each has the same programs and the same list, so the columns compare.

  --only REGEX     programs whose label matches, for a first look
  --villain REGEX  of the villain's cases those whose names match
  --more           goes on where a run of the same programs stopped
  --record         writes docs/runs/kernels.md

A failed case is repeated alone, twice at most, and then named as such. What is not judged under
emulation, and why, is in tools/dev/places/expectations.txt. Exit code: 0 if nothing failed.
END
}

# newest_kernel VERSION: the package's name.
newest_kernel() {
  apt-cache search --names-only "^linux-image-${1//./\\.}[.][0-9.+deb-]*-cloud-amd64\$" | cut -d' ' -f1 | sort -V | tail -n 1
}

# kernel_package VERSION: downloads the newest and prints the file's path.
kernel_package() {
  local folder package file
  folder="$(cache_root)/kernels"
  mkdir -p "$folder"
  package="$(newest_kernel "$1")"
  [[ -n "$package" ]] || die "apt knows no linux-image-$1*-cloud-amd64 (apt-get update first?)"
  file="$(find "$folder" -name "${package}_*.deb" | sort -V | tail -n 1)"
  if [[ -z "$file" ]]; then
    say apt-get download "$package"
    (cd "$folder" && apt-get download -q -o APT::Sandbox::User=root "$package" >&2)
    file="$(find "$folder" -name "${package}_*.deb" | sort -V | tail -n 1)"
  fi
  echo "$file"
}

# built_tests PLACE FOLDER ONLY [FLAG...]: builds what that place runs, and collects it.
built_tests() {
  local place="$1" folder="$2" only="$3" query="$2.query" bin
  shift 3
  local expression="tests(//...) + //villain:villain + kind(filegroup, //...)"
  mkdir -p "$(dirname "$folder")"
  (
    cd "$PARLEY_ROOT"
    bazel_with gcc query --noshow_progress --output=xml "$expression" >"$query" 2>/dev/null
    python3 -B "$PLACES/collect.py" --query "$query" --place "$place" --only "$only" --labels >"$query.labels"
    say bazel build "# $(wc -l <"$query.labels") programs"
    # shellcheck disable=SC2046
    bazel_with gcc build $(progress_flags) "$@" --build_runfile_links --target_pattern_file="$query.labels" >&2
    bin="$(bazel_with gcc info "$@" bazel-bin 2>/dev/null)"
    python3 -B "$PLACES/collect.py" --query "$query" --place "$place" --only "$only" --bin "$bin" --to "$folder"
  )
}

# kvm if this processor runs a guest's kernel by itself, else tcg.
accelerator() {
  if [[ -r /dev/kvm && -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then echo kvm; else echo tcg; fi
}

run_kernels() {
  local revision # of what is built, and not of what is there when it ends
  revision="$(git_revision)"
  local only="" cases="" record=0 more=() versions=() version folder report=() status=0
  local accel scale place how
  accel="$(accelerator)" scale=$EMULATED_SCALE place=emulated
  how="emulated by qemu (TCG, two processors), which is ten times slower"
  if [[ "$accel" == kvm ]]; then
    scale=$KVM_SCALE place=kvm how="under qemu with KVM (two processors)"
  fi
  while (($#)); do
    case "$1" in
      --only) only="$2" && shift ;;
      --villain) cases="$2" && shift ;;
      --more) more=(--more) ;;
      --record) record=1 ;;
      --help | -h) kernels_usage && return ;;
      -*) die "kernels has no flag '$1'" ;;
      *) versions+=("$1") ;;
    esac
    shift
  done
  ((${#versions[@]})) || versions=(native 6.1 6.12)
  folder="$(cache_dir)/kernels"
  built_tests emulated "$folder/tests" "$only"
  if [[ "${versions[*]}" != native ]]; then
    make_root guest bookworm "$(dpkg --print-architecture)" "${GUEST_PACKAGES[@]}"
    [[ "$(roots_dir)/guest.img" -nt "$(roots_dir)/guest.made-with" ]] \
      || ext4_image "$(roots_dir)/guest" "$(roots_dir)/guest.img"
  fi
  for version in "${versions[@]}"; do
    if [[ "$version" == native ]]; then
      say run_cases.py "# on this machine's kernel, $(uname -r)"
      python3 -B "$PLACES/done.py" --tree "$folder/tests" --events "$folder/native.events" ${more[@]+"${more[@]}"}
      python3 -B "$PLACES/run_cases.py" --tree "$folder/tests" --out "$folder/native.events" --tries "$TRIES" \
        --append --villain "$cases" || status=1
      report+=("native=native=$folder/native.events")
      continue
    fi
    local package
    package="$(kernel_package "$version")"
    python3 -B "$PLACES/done.py" --tree "$folder/tests" --events "$folder/$version.events" ${more[@]+"${more[@]}"}
    ext4_image "$folder/tests" "$folder/tests.img"
    say qemu-system-x86_64 -accel "$accel" -cpu max -smp 2 "# $(basename "$package")"
    python3 -B "$PLACES/boot.py" --accel "$accel" --package "$package" --root "$(roots_dir)/guest.img" --tests "$folder/tests.img" \
      --events "$folder/$version.events" --console "$folder/$version.console" \
      -- --scale "$scale" --tries "$TRIES" ${cases:+--villain "$cases"} || status=1
    report+=("$version=$place=$folder/$version.events")
  done
  echo
  python3 -B "$PLACES/report.py" --manifest "$folder/tests/manifest.json" "${report[@]}" || status=1
  if ((record)); then
    mkdir -p "$PARLEY_ROOT/docs/runs"
    python3 -B "$PLACES/report.py" --markdown --title "Kernels that ran the tests and the villain" \
      --command "./dev kernels --record${only:+ --only '$only'}${cases:+ --villain '$cases'}${more:+ --more} ${versions[*]}" --commit "$revision" \
      --note "Debian's kernels run $how: a program's limit is $scale times as long there, its own bounds on time are not. A failed case is repeated alone, at most $((TRIES - 1)) times. \"native\" is the machine's own kernel with the same programs." \
      --manifest "$folder/tests/manifest.json" "${report[@]}" >"$PARLEY_ROOT/docs/runs/kernels.md" || true
    echo "dev: wrote docs/runs/kernels.md" >&2
  fi
  return "$status"
}
