# SPDX-License-Identifier: Apache-2.0
# The examples of a header, as its top comment shows them: what tests/header_examples compiles.
#
#   awk -v path=channel/sender.h -v only=0 -v bare=0 -f extract.awk channel/sender.h
#
# An example is a paragraph of lines that are indented by three spaces behind the slashes, one of
# which ends in `;`, `{` or `}`. `only`: the one of this number, from 1; 0: all. `bare`: not 0 leaves
# out the braces around each, which keep the variables of one from the next.
# A compiler's message names the header's own line.

function finish(  i, wanted) {
  if (is_code) {
    ++count
    wanted = only == 0 || only == count
    if (wanted) {
      ++printed
      if (!bare) print "{"
      print "#line " first " \"" path "\""
      for (i = 0; i < lines; ++i) print text[i]
      if (!bare) print "}"
    }
  }
  lines = 0
  is_code = 0
}

/^#include/ { exit }
/^\/\/   / {
  if (lines == 0) first = FNR
  line = substr($0, 6)
  text[lines++] = line
  sub(/ *\/\/.*$/, "", line)
  if (line ~ /[;{}]$/) is_code = 1
  next
}
{ finish() }
END {
  finish()
  if (printed == 0) {
    print path ": no such example" >"/dev/stderr"
    exit 1
  }
}
