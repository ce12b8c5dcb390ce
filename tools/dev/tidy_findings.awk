# Of a clang-tidy build's output: each finding once, with its lines of source, and the progress.

/warnings generated\.$/ { next }

/: note: / {
  shown = 0 # the whole of it is in the log
  next
}

/: (error|warning): / {
  sub(/^\/[^ ]*\/execroot\/parley\//, "")
  sub(/^bazel-out\/[^ ]*\/_virtual_includes\/[^\/]*\/parley\//, "")
  shown = seen[$0]++ ? 0 : 4 # a header's finding comes once for each file that includes it
  if (shown) print
  next
}

/^ +[0-9]* \|/ {
  if (shown && shown--) print
  next
}

/^\[[0-9]/ || /^INFO: Elapsed/ || (/^ERROR: / && !/clang-tidy .* failed/) { print; fflush() }
