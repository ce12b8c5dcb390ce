# SPDX-License-Identifier: Apache-2.0
"""C++ lines split into code and comment, well enough for line-based rules."""

import re

_TOKEN = re.compile(
    r'''(?P<line>//[^\n]*)
      | (?P<block>/\*.*?\*/)
      | (?P<raw>R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)")
      | (?P<string>"(?:\\.|[^"\\\n])*")
      | (?P<digits>\b[0-9][0-9A-Za-z.]*(?:'[0-9A-Za-z]+)*)
      | (?P<char>'(?:\\.|[^'\\\n])+')
    ''',
    re.VERBOSE | re.DOTALL,
)


def tokens(text):
    """The text without comments, blank lines and indentation: the same if the code is the same."""
    plain, out, position = "", [], 0

    def squeezed():
        return re.sub(r"\s+", lambda blank: "\n" if "\n" in blank.group() else " ", plain)

    for match in _TOKEN.finditer(text):
        plain += text[position : match.start()]
        position = match.end()
        if match.lastgroup in ("line", "block"):
            plain += " "
        else:
            out += [squeezed(), match.group()]
            plain = ""
    plain += text[position:]
    return "".join([*out, squeezed()]).strip()


class Source:
    """`code[i]` and `comment[i]` are line i; literals are emptied, and what is not there is "" ."""

    def __init__(self, text):
        code, comment = [], []
        position = 0

        def keep(out, other, piece):
            out.append(piece)
            other.append("\n" * piece.count("\n"))

        for match in _TOKEN.finditer(text):
            keep(code, comment, text[position : match.start()])
            piece = match.group()
            if match.lastgroup in ("line", "block"):
                keep(comment, code, piece)
            elif match.lastgroup == "digits":
                keep(code, comment, piece)
            else:
                keep(code, comment, '""' + "\n" * piece.count("\n"))
            position = match.end()
        keep(code, comment, text[position:])
        self.code = "".join(code).split("\n")
        self.comment = "".join(comment).split("\n")

    def statement_start(self, index):
        """The first line of the statement that line `index` belongs to, roughly."""
        while index > 0:
            above = self.code[index - 1].strip()
            if not above or above.startswith("#") or above[-1] in ";{}:":
                break
            index -= 1
        return index

    def near_comment(self, index, lines=3):
        """What is said on the line, in its statement, in the `lines` lines above and in the whole
        of a comment that ends there."""
        start = self.statement_start(index)
        first = max(0, start - lines)
        while first > 0 and self.comment[first] and not self.code[first].strip():
            first -= 1
        return "\n".join(self.comment[first : index + 1])
