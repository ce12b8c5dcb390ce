# SPDX-License-Identifier: Apache-2.0

# Sourced by format.sh and check.sh: buildifier's binary, from npm, in the cache folder.

readonly BUILDIFIER_VERSION=8.2.1

buildifier() {
  local folder
  folder="$(cache_root)/buildifier-$BUILDIFIER_VERSION"
  if [[ ! -x "$folder/node_modules/.bin/buildifier" ]]; then
    say npm install "@bazel/buildifier@$BUILDIFIER_VERSION"
    mkdir -p "$folder"
    HOME="${HOME:-$folder}" npm install --silent --no-fund --no-audit --no-save \
      --prefix "$folder" "@bazel/buildifier@$BUILDIFIER_VERSION" >&2 </dev/null
  fi
  "$folder/node_modules/.bin/buildifier" "$@"
}
