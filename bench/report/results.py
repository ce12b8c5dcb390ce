# SPDX-License-Identifier: Apache-2.0
"""A run's samples, and what may be said of them: medians, ranges and ratios within one regime."""

import json
import lzma
import statistics

APART = "apart"
UNPINNED = "unpinned"
ONE_CORE = "one core"
ONE_WAY = "one way"
ROUND_TRIP = "round trip"
MIXED = -1
LARGEST = 0  # the regime with most samples of the run


class Figure:
    """The median of a row in a cell, with the smallest and largest of its samples."""

    def __init__(self, values, regime=None):
        self.regime = regime
        self.median = statistics.median(values)
        self.low = min(values)
        self.high = max(values)
        self.count = len(values)


class Ratio:
    """Of two medians in one regime; the range is that of the passes in which both were measured."""

    def __init__(self, value, low, high, passes, regime):
        self.value = value
        self.low = low
        self.high = high
        self.passes = passes
        self.regime = regime


class Results:
    def __init__(self, data):
        self.data = data
        self.rows = {row["name"]: row for row in data["rows"]}
        self.order = [row["name"] for row in data["rows"]]
        self._samples = {}
        for sample in data["samples"]:
            self._samples.setdefault(self._key(sample), []).append(sample)
        self._calls = {self._key(calls): calls for calls in data["system_calls"]}

    @staticmethod
    def load(path):
        # A run that is kept in the repository is packed.
        opened = lzma.open if path.endswith(".xz") else open
        with opened(path, "rt", encoding="utf-8") as stream:
            return Results(json.load(stream))

    @staticmethod
    def _key(cell):
        return cell["row"], cell["direction"], cell["placement"], int(cell["size"])

    def sizes(self):
        return sorted({key[3] for key in self._samples})

    def regimes(self):
        return self.data["regimes"]

    @staticmethod
    def time_of(sample):
        """One way: the time of all messages over their number. Round trip: the median one."""
        return sample["mean_ns"] if sample["direction"] == ONE_WAY else sample["p50_ns"]

    def samples(self, row, direction, size, placement=APART, regime=None):
        """Of one regime; None: the run's largest, so that rows can be compared; where the row has
        none in it, that in which it has most. On one core there are no regimes."""
        found = self._samples.get((row, direction, placement, size), [])
        if placement == ONE_CORE:
            return found
        if regime is None:
            regime = self.regime_of([found], 1)
        return [sample for sample in found if sample["regime"] == regime]

    @staticmethod
    def regime_of(groups, enough):
        """The run's largest where each group has enough samples in it, else that in which the group
        with the fewest samples has the most."""
        if all(sum(s["regime"] == LARGEST for s in group) >= enough for group in groups):
            return LARGEST
        regimes = {s["regime"] for group in groups for s in group if s["regime"] != MIXED}
        if not regimes:
            return None

        def fewest(regime):
            return min(sum(s["regime"] == regime for s in group) for group in groups)

        return max(sorted(regimes), key=fewest)

    def figure(self, row, direction, size, placement=APART, value=None):
        samples = self.samples(row, direction, size, placement)
        if not samples:
            return None
        regime = LARGEST if placement == ONE_CORE else samples[0]["regime"]
        return Figure([(value or self.time_of)(sample) for sample in samples], regime)

    def ratio(self, over, under, placement=APART):
        """`over` and `under` are (row, direction, size); None if they share no regime."""
        groups = [self._samples.get((row, direction, placement, size), [])
                  for row, direction, size in (over, under)]
        regime = None
        if placement != ONE_CORE:
            regime = self.regime_of(groups, 2)
            groups = [[s for s in group if s["regime"] == regime] for group in groups]
        if not all(groups):
            return None
        medians = [statistics.median(map(self.time_of, group)) for group in groups]
        by_pass = [{s["pass"]: self.time_of(s) for s in group} for group in groups]
        paired = [by_pass[0][p] / by_pass[1][p] for p in by_pass[0] if p in by_pass[1]]
        value = medians[0] / medians[1]
        paired = paired or [value]
        # The ratio of two medians can lie outside of the ratios of the passes.
        return Ratio(value, min(paired + [value]), max(paired + [value]), len(paired), regime)

    def system_calls(self, row, direction, size):
        return self._calls.get((row, direction, APART, size))

    def row_names(self, waiting=None, family=None):
        return [name for name in self.order
                if (waiting is None or self.rows[name]["waiting"] in waiting)
                and (family is None or self.rows[name]["family"] in family)]

    def fastest(self, names, direction, size, placement=APART):
        """The row of `names` with the smallest median, or None."""
        figures = [(self.figure(name, direction, size, placement), name) for name in names]
        figures = [(figure.median, name) for figure, name in figures if figure]
        return min(figures)[1] if figures else None


def cpu_ns(sample):
    """Processor time of both ends for one message."""
    used = sum(u["user_s"] + u["system_s"] for u in sample["usage"])
    return used / sample["messages"] * 1e9


def switches(sample):
    """Context switches of both ends for one message."""
    total = sum(u["voluntary_switches"] + u["involuntary_switches"] for u in sample["usage"])
    return total / sample["messages"]
