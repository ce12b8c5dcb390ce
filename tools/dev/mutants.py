# SPDX-License-Identifier: Apache-2.0
"""Small changes to C++ sources, each of which a test should notice; no build, no file is written."""

import re
import zlib

# What is not the product: helpers of tests, and programs that measure.
_NOT_PRODUCT = re.compile(r"(_test|test_support|testing_\w+|_for_tests|hostile_access|measure|full_speed|start_cost)\.(cc|h)$")

# Each: name, pattern, replacement. Applied to one place of a line at a time.
_OPERATORS = [
    ("less", r"(?<=[\w)\]] )<(?= )", "<="),
    ("less or equal", r"(?<=[\w)\]] )<=(?= )", "<"),
    ("greater", r"(?<=[\w)\]] )>(?= )", ">="),
    ("greater or equal", r"(?<=[\w)\]] )>=(?= )", ">"),
    ("equal", r"(?<= )==(?= )", "!="),
    ("not equal", r"(?<= )!=(?= )", "=="),
    ("and", r"(?<= )&&(?= |$)", "||"),
    ("or", r"(?<= )\|\|(?= |$)", "&&"),
    ("plus", r"(?<=[\w)\]] )\+(?= \w)", "-"),
    ("minus", r"(?<=[\w)\]] )-(?= \w)", "+"),
    ("mask", r"(?<=[\w)\]] )&(?= [\w~(])", "|"),
    ("not", r"(?<=[ (])!(?=[\w(:*])", ""),
    ("true", r"\btrue\b", "false"),
    ("false", r"\bfalse\b", "true"),
    ("zero", r"(?<=[ (,])0(?=[,;)])", "1"),
    ("one", r"(?<=[ (,])1(?=[,;)])", "2"),
]
_OPERATORS = [(name, re.compile(pattern), new) for name, pattern, new in _OPERATORS]

# A whole statement of one line that may go without leaving a hole in the syntax, and a whole element
# of a list.
_STATEMENT = re.compile(r"^\s+(?!return\b|using\b|static_assert|case\b|break|continue|constexpr|const\b|auto\b|goto\b|friend\b)"
                        r"[\w:.>\-*\[\]]+(\(.*\)|(\+\+|--)|\s[|&+\-^]?=\s[^=].*);$")
_GUARD = re.compile(r"^(\s+)if \(.*\)( \[\[\w+\]\])? return .*;$")
_ELEMENT = re.compile(r"^\s+(\{.*\}|[\w:]+\(.*\)|\"[\w]+\"),$")


class Mutant:
    def __init__(self, path, number, operator, before, after, occurrence):
        self.path, self.number, self.operator = path, number, operator
        self.before, self.after = before, after
        # Survives a move of the line: what it says and which of its like it is.
        self.key = f"{path}|{operator}|{before.strip()}|{occurrence}"

    def __str__(self):
        return f"{self.path}:{self.number} {self.operator}: {self.before.strip()}  ->  {self.after.strip() or '(gone)'}"


def is_product(path):
    return path.endswith((".cc", ".h")) and not _NOT_PRODUCT.search(path)


def _code(line):
    """The line with comments and the insides of strings blanked, of the same length."""
    line = re.sub(r'"(\\.|[^"\\])*"', lambda m: '"' + "_" * (len(m.group()) - 2) + '"', line)
    return re.sub(r"//.*", lambda m: " " * len(m.group()), line)


def mutants_of(path, text):
    found = []
    seen = {}
    lines = text.split("\n")
    skipped = False  # inside a static_assert or a preprocessor line: the compiler is the test
    begins = True  # no earlier line goes on in this one

    def add(number, operator, after):
        before = lines[number]
        where = (operator, before.strip(), after.strip())
        seen[where] = seen.get(where, 0) + 1
        same = sum(count for (op, line, _), count in seen.items() if (op, line) == where[:2])
        found.append(Mutant(path, number + 1, operator, before, after, same))

    for number, line in enumerate(lines):
        code = _code(line)
        if skipped or code.lstrip().startswith(("static_assert", "#", "template", "using ", "PARLEY_DEBUG_CHECK")):
            skipped = not code.rstrip().endswith(";") and not code.lstrip().startswith(("#", "template"))
            continue
        if not code.strip():
            continue
        whole, begins = begins, code.rstrip().endswith((";", "{", "}", ":")) or code.rstrip().endswith("else")
        if whole and _GUARD.match(code):
            add(number, "guard removed", "")
        elif whole and _STATEMENT.match(code):
            add(number, "statement removed", "")
        elif _ELEMENT.match(code):
            add(number, "element removed", "")
        for name, pattern, new in _OPERATORS:
            for match in pattern.finditer(code):
                add(number, name, line[: match.start()] + new + line[match.end() :])
    return found


def sample(mutants, count, seed):
    """`count` of them, the same for the same seed whatever else the list holds."""
    ranked = sorted(mutants, key=lambda m: (zlib.crc32(f"{seed}|{m.key}".encode()), m.key))
    return sorted(ranked[:count], key=lambda m: (m.path, m.number)) if count else mutants
