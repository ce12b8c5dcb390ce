# SPDX-License-Identifier: Apache-2.0

# Sourced by ./dev: `dev install`, headers and libraries for those who do not build with Bazel.

install_usage() {
  cat <<END
Usage: ./dev install [--prefix DIR] [--destdir DIR]

Builds Parley and installs it below DIR (default: /usr/local):

  include/parley/...               the headers
  lib/libparley.a, libparley.so    what a channel needs: Abseil alone
  lib/libparley_sandbox.a, .so     spawning and confining a worker: libseccomp as well
  lib/pkgconfig/parley.pc, parley_sandbox.pc
  lib/cmake/parley/                for find_package(parley): parley::parley, parley::sandbox,
                                   and the static parley::parley_static, parley::sandbox_static
  bin/parley-thumb                 docs/THUMB.md; its worker in libexec/parley, its thumbnailer
                                   entry in share/thumbnailers

--destdir puts the tree below another root, for packagers; what the files say is the prefix.
Compile with -std=c++20 or newer. examples/installed has a Makefile and a CMake project.
END
}

parley_version() { sed -n 's/^    version = "\(.*\)",$/\1/p' "$PARLEY_ROOT/MODULE.bazel"; }

# packages_of TARGET...: the pkg-config packages of the Abseil libraries behind these targets.
absl_packages_of() {
  bazel_with query query --noshow_progress --output=label \
    "kind(cc_library, deps($(printf '%s + ' "$@")//os:check)) intersect @com_google_absl//...:*" \
    2>/dev/null | sed 's/.*:/absl_/' | sort -u
}

headers_of() {
  bazel_with query query --noshow_progress \
    "labels(hdrs, deps($(printf '%s + ' "$@")//os:check)) intersect //...:*" 2>/dev/null \
    | sed 's|^//||; s|:|/|' | sort -u
}

# deps_of NAME: the targets that the archive NAME is made of, as tools/install/BUILD.bazel has them.
deps_of() {
  bazel_with query query --noshow_progress "labels(deps, //tools/install:$1)" 2>/dev/null
}

# install_library NAME LIBDIR VERSION NEEDS...: the archive, and the shared library made of it.
install_library() {
  local name="$1" libdir="$2" version="$3" archive
  shift 3
  archive="$(bazel_with gcc info --config=opt bazel-bin 2>/dev/null)/tools/install/lib$name.a"
  install -m 644 "$archive" "$libdir/lib$name.a"
  # -z defs: what this library needs and does not name is an error here, not at the user's.
  say g++ -shared -o "lib$name.so.$version"
  g++ -shared -o "$libdir/lib$name.so.$version" -Wl,-soname,"lib$name.so.${version%.*}" \
    -Wl,-z,defs -Wl,-z,relro -Wl,-z,now -Wl,--as-needed \
    -Wl,--whole-archive "$archive" -Wl,--no-whole-archive "$@"
  ln -sf "lib$name.so.$version" "$libdir/lib$name.so.${version%.*}"
  ln -sf "lib$name.so.${version%.*}" "$libdir/lib$name.so"
}

write_pkg_config() {
  local file="$1" prefix="$2" name="$3" description="$4" requires="$5"
  cat >"$file" <<END
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: $name
Description: $description
Version: $(parley_version)
Requires: $requires
Cflags: -I\${includedir}
Libs: -L\${libdir} -l$name
END
}

write_cmake_config() {
  local folder="$1" version
  shift
  version="$(parley_version)"
  sed -e "s/@VERSION@/$version/" -e "s/@ABSL@/${*/#/absl::}/" \
    "$PARLEY_ROOT/tools/install/parleyConfig.cmake.in" >"$folder/parleyConfig.cmake"
  sed -e "s/@VERSION@/$version/" \
    "$PARLEY_ROOT/tools/install/parleyConfigVersion.cmake.in" >"$folder/parleyConfigVersion.cmake"
}

# install_thumb ROOT: the program, its worker, and the entry by which file managers find it.
install_thumb() {
  local built
  built="$(bazel_with gcc info --config=opt bazel-bin 2>/dev/null)/thumb"
  install -D -m 755 "$built/parley_thumb" "$1/bin/parley-thumb"
  install -D -m 755 "$built/thumb_worker" "$1/libexec/parley/parley-thumb-worker"
  install -D -m 644 "$PARLEY_ROOT/thumb/parley-thumb.thumbnailer" \
    "$1/share/thumbnailers/parley-thumb.thumbnailer"
}

run_install() {
  local prefix=/usr/local destdir=""
  while (($#)); do
    case "$1" in
      --prefix | --destdir)
        (($# > 1)) || die "$1 needs a folder"
        printf -v "${1#--}" %s "$2"
        shift
        ;;
      --prefix=*) prefix="${1#*=}" ;;
      --destdir=*) destdir="${1#*=}" ;;
      --help | -h) install_usage && return ;;
      *) die "install does not know '$1'; see ./dev install --help" ;;
    esac
    shift
  done
  [[ "$prefix" == /* ]] || prefix="$PWD/$prefix"
  cd "$PARLEY_ROOT"

  say bazel build --config=opt //tools/install:all //thumb:parley_thumb
  # shellcheck disable=SC2046
  bazel_with gcc build $(progress_flags) --config=opt //tools/install:all //thumb:parley_thumb

  local root="$destdir$prefix" version header absl=() channel sandbox
  version="$(parley_version)"
  mapfile -t channel < <(deps_of parley)
  mapfile -t sandbox < <(deps_of parley_sandbox)
  mapfile -t absl < <(absl_packages_of "${channel[@]}" "${sandbox[@]}")
  ((${#absl[@]} && ${#channel[@]} && ${#sandbox[@]})) || die "bazel query found no targets to install"
  mkdir -p "$root/lib/pkgconfig" "$root/lib/cmake/parley" || die "cannot write to $root"
  while read -r header; do
    install -D -m 644 "$header" "$root/include/parley/$header"
  done < <(headers_of "${channel[@]}" "${sandbox[@]}")

  local needs
  mapfile -t needs < <(pkg-config --libs "${absl[@]}" | tr ' ' '\n' | sed '/^$/d')
  install_library parley "$root/lib" "$version" "${needs[@]}"
  install_library parley_sandbox "$root/lib" "$version" -L"$root/lib" -lparley "${needs[@]}" -lseccomp
  write_pkg_config "$root/lib/pkgconfig/parley.pc" "$prefix" parley \
    "IPC between two processes that do not trust each other" "$(printf '%s, ' "${absl[@]}" | sed 's/, $//')"
  write_pkg_config "$root/lib/pkgconfig/parley_sandbox.pc" "$prefix" parley_sandbox \
    "Spawning and confining a worker for Parley" "parley, libseccomp"
  write_cmake_config "$root/lib/cmake/parley" "${absl[@]#absl_}"
  install_thumb "$root"
  say "installed Parley $version below $root"
}
