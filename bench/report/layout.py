# SPDX-License-Identifier: Apache-2.0
"""What tables look like, as text and as Markdown."""


def number(value):
    """Three significant digits and no exponent: 3.91, 48.2, 880, 22,200."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if value < 0.005:
        return "<0.01"
    if value < 100:
        return f"{value:.3g}"
    digits = len(str(int(value)))
    step = 10 ** max(digits - 3, 0)
    return f"{int(round(value / step)) * step:,}"


class Table:
    def __init__(self, title, head, lines, words=""):
        self.title = title
        self.head = head
        self.lines = lines
        self.words = words

    def text(self):
        widths = [max(len(line[i]) for line in [self.head] + self.lines)
                  for i in range(len(self.head))]

        def join(line):
            cells = [line[0].ljust(widths[0])]
            cells += [cell if name == "note" else cell.rjust(width)
                      for cell, width, name in zip(line[1:], widths[1:], self.head[1:])]
            return "  ".join(cells).rstrip()

        rule = "-" * min(len(join(self.lines[0] if self.lines else self.head)), 140)
        words = [self.words] if self.words else []
        return "\n".join([self.title, *words, rule, join(self.head), rule]
                         + [join(line) for line in self.lines] + [""])

    def markdown(self):
        rows = ["| " + " | ".join(line) + " |" for line in [self.head] + self.lines]
        rows.insert(1, "|---" + "|--:" * (len(self.head) - 1) + "|")
        words = [self.words, ""] if self.words else []
        return "\n".join([f"### {self.title}", "", *words, *rows, ""])


class TextTable(Table):
    """One whose columns hold words."""

    def text(self):
        widths = [max(len(line[i]) for line in [self.head] + self.lines)
                  for i in range(len(self.head))]
        rule = "-" * min(sum(widths) + 2 * len(widths), 140)
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip()
                 for line in [self.head] + self.lines]
        return "\n".join([self.title, rule, lines[0], rule] + lines[1:] + [""])

    def markdown(self):
        rows = ["| " + " | ".join(line) + " |" for line in [self.head] + self.lines]
        rows.insert(1, "|---" * len(self.head) + "|")
        return "\n".join([f"### {self.title}", "", *rows, ""])
