# SPDX-License-Identifier: Apache-2.0
"""Many mutants of a source in one program, of which a number in the binary chooses one; for ./dev mutate.

Each changed expression becomes `(parley_mutant(7) ? changed : original)`, each removed statement is made
conditional. What cannot be put so (an element of a list, an overlap) is left out, and so is what the
compiler refuses: the caller builds those alone. A constant expression always has the original.
"""

import re

# In each changed file, before its first line. The number follows the mark in every binary that was
# made from it; Selector changes it there, so that it holds in each process, whatever its environment.
MARK = b"parley mutant no"
PROLOGUE = """#ifndef PARLEY_MUTANT_
#define PARLEY_MUTANT_
struct ParleyMutantChoice { char mark[16]; int number; };
inline const volatile ParleyMutantChoice parley_mutant_choice = {{%s}, 0};
__attribute__((always_inline)) inline constexpr bool parley_mutant(int number) {
  return !__builtin_is_constant_evaluated() && parley_mutant_choice.number == number;
}
#endif
""" % ", ".join(f"'{chr(byte)}'" for byte in MARK)

_LOCAL = {"zero", "one", "true", "false"}
_WHOLE = {"statement removed", "guard removed"}
_OPEN, _CLOSE = "([{", ")]}"
_BEFORE = re.compile(r"(?:\b(?:return|co_return|throw|case|else|do)|[,;?]| :|[^=!<>]=|[&|+\-*/%^]=)\s*$")
_AFTER = re.compile(r"\s*(?:[,;?]|: )")


def mask(text):
    """The text with comments and the insides of literals blanked, of the same length."""
    def blank(match):
        whole = match.group()
        if whole[0] == "/":
            return re.sub(r"[^\n]", " ", whole)
        return whole[0] + "_" * (len(whole) - 2) + whole[-1]
    return re.sub(r'//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', blank, text)


def _begins(code, at):
    """Whether an expression may begin here: not inside a name, `::` or `==`."""
    match = _BEFORE.search(code, max(0, at - 12), at)
    if match is None:
        return False
    after, text = code[at:at + 1], match.group()
    inside = (text[-1].isalnum() and (after.isalnum() or after == "_")) or (text[-1] in ":=" and after == text[-1])
    return not inside


def extent(code, at):
    """The expression around `at`, as far as the next bracket, comma, assignment or keyword; or None."""
    depth, start = 0, at
    while start > 0:
        c = code[start - 1]
        if c in _CLOSE:
            if depth == 0 and c == "}" and code[start:start + 1].isspace():
                break
            depth += 1
        elif c in _OPEN:
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and _begins(code, start):
            break
        start -= 1
    depth, end = 0, at
    while end < len(code):
        c = code[end]
        if c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and _AFTER.match(code, end):
            break
        end += 1
    while start < end and code[start].isspace():
        start += 1
    while end > start and code[end - 1].isspace():
        end -= 1
    return (start, end) if start <= at < end and ";" not in code[start:end] else None


def changed_part(before, after):
    """(first, last) of `before` that another text replaces, and that text."""
    first = 0
    while first < min(len(before), len(after)) and before[first] == after[first]:
        first += 1
    last = 0
    while last < min(len(before), len(after)) - first and before[-1 - last] == after[-1 - last]:
        last += 1
    return first, len(before) - last, after[first:len(after) - last]


def weave(text, numbered):
    """(the text with all of `numbered` (number, mutant) that it can hold, the numbers of those)"""
    code = mask(text)
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    edits, taken = [], []  # (start, end, text); (start, end)
    held = []
    for number, mutant in numbered:
        begin = starts[mutant.number - 1]
        test = f"parley_mutant({number})"
        if mutant.operator in _WHOLE:
            at = begin + len(mutant.before) - len(mutant.before.lstrip())
            edits.append((at, at, f"if (!{test}) "))
            held.append(number)
            continue
        if mutant.operator == "element removed":
            continue
        first, last, new = changed_part(mutant.before, mutant.after)
        if mutant.operator in _LOCAL:
            while first > 0 and (mutant.before[first - 1].isalnum()):
                first, new = first - 1, mutant.before[first - 1] + new
            while last < len(mutant.before) and mutant.before[last].isalnum():
                new, last = new + mutant.before[last], last + 1
            where = (begin + first, begin + last)
        else:
            where = extent(code, begin + first)
        if where is None or any(where[0] < e and s < where[1] for s, e in taken):
            continue
        start, end = where
        changed = text[start:begin + first] + new + text[begin + last:end]
        if "\n" in changed and "//" in text[start:end]:
            continue
        # On one line, so that the compiler's line numbers stay right.
        flat = re.sub(r"\s*\n\s*", " ", changed)
        # Without it "!*got" of an optional would make both arms an optional, which always has a value.
        kind = "static_cast<bool>" if mutant.operator == "not" else ""
        edits.append((start, end, f"({test} ? {kind}({flat}) : {kind}({text[start:end]}))"))
        taken.append(where)
        held.append(number)
    for start, end, new in sorted(edits, key=lambda e: (e[0], e[1]), reverse=True):
        text = text[:start] + new + text[end:]
    return PROLOGUE + "#line 1\n" + text, held


class Selector:
    """The files of a build that hold the number, and the number in all of them."""

    def __init__(self, files):
        self.places = []
        for file in files:
            data = file.read_bytes()
            at = data.find(MARK)
            while at >= 0:
                self.places.append((file, at + len(MARK)))
                at = data.find(MARK, at + 1)
        for file in {f for f, _ in self.places}:
            file.chmod(0o755)

    def choose(self, number):
        for file, at in self.places:
            try:
                self._write(file, at, number)
            except OSError:  # it runs: a process that a test left behind. A copy takes its name.
                copy = file.with_name(file.name + ".other")
                copy.write_bytes(file.read_bytes())
                copy.chmod(0o755)
                copy.replace(file)
                self._write(file, at, number)

    @staticmethod
    def _write(file, at, number):
        with file.open("r+b") as f:
            f.seek(at)
            f.write(number.to_bytes(4, "little"))
