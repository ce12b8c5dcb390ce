# SPDX-License-Identifier: Apache-2.0
"""What is not run, or not judged, in which place, and why: expectations.txt."""

import os
import re

_KINDS = ("left-out", "not-judged", "not-judged-for")


class Expectations:
    """The lines that hold for one place: native, emulated, kvm, arm64, trixie, pages."""

    def __init__(self, place, path=None):
        self._rules = {kind: [] for kind in _KINDS}
        self.used = set()
        path = path or os.path.join(os.path.dirname(os.path.abspath(__file__)), "expectations.txt")
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip() or line.startswith("#"):
                    continue
                parts = line.split(None, 3)
                if len(parts) != 4 or parts[0] not in _KINDS:
                    raise ValueError(f"{path}:{number}: not 'kind places pattern reason'")
                kind, places, pattern, reason = parts
                pattern = pattern.replace("_", " ") if kind == "not-judged-for" else pattern
                if place in places.split(",") or places == "all":
                    self._rules[kind].append((re.compile(pattern), reason.strip()))

    def _find(self, kind, name):
        for pattern, reason in self._rules[kind]:
            if pattern.fullmatch(name):
                self.used.add((kind, pattern.pattern))
                return reason
        return ""

    def left_out(self, target):
        """The reason for which a target is not run there; "" if it is."""
        return self._find("left-out", target)

    def not_judged(self, case, why=""):
        """The reason for which a failure of this case says nothing there; "" if it counts. `why` is what was said of it;
        of the villain's sentences each must be one that says nothing."""
        reason = self._find("not-judged", case)
        if reason:
            return reason
        if not case.startswith("villain: "):
            return self._find("not-judged-for", why)
        said = [sentence for sentence in why.removeprefix("FAIL: ").split("; ") if sentence]
        # "; the machine itself was late by" is the second half of a sentence.
        said = [sentence for sentence in said if not sentence.startswith("the machine itself ")]
        reasons = [self._find("not-judged-for", sentence) for sentence in said]
        return reasons[0] if reasons and all(reasons) else ""

    def unused(self):
        return sorted(
            pattern.pattern
            for kind in _KINDS
            for pattern, _ in self._rules[kind]
            if (kind, pattern.pattern) not in self.used
        )
