# SPDX-License-Identifier: Apache-2.0
"""The targets that were set before anything was measured, computed from a run."""

import presets
from results import APART, ONE_CORE, ONE_WAY, ROUND_TRIP, Ratio

KIB = 1024
MIB = 1024 * 1024

# What shmem-ipc took for 64 B one way on a machine whose bare exchange took 112 ns.
SHMEM_IPC_64_NS = 41
SHMEM_IPC_BARE_NS = 112

IN_PLACE = "parley in place"
COPIED = "parley copied"
POOL = "parley frame pool"
# What a user would take for a size: without a copy, and with one out of the peer's memory.
ALL_IN_PLACE = (IN_PLACE, "parley chunked", POOL, POOL + ", chunked")
ALL_COPIED = (COPIED, "parley copied out", "parley copied out in pieces", "parley bulk",
              POOL + ", copied out in pieces", POOL + ", chunked, copied out in pieces")
UNCHECKED = "unchecked ring"
BARE = ("bare two-line exchange", ROUND_TRIP, 8)
EVENTFD = "eventfd and shared memory"
ICEORYX = ("iceoryx", "iceoryx, non-blocking")
UNIX = ("unix stream", "unix stream, non-blocking", "unix seqpacket",
        "unix seqpacket, non-blocking")


class Outcome:
    def __init__(self, name, limit, text, met, detail=""):
        self.name = name
        self.limit = limit
        self.text = text  # what was measured
        self.met = met  # None: not measured
        self.detail = detail

    def verdict(self):
        return {True: "met", False: "missed", None: "not measured"}[self.met]


def _size(size):
    if size >= MIB:
        return f"{size // MIB} MiB"
    return f"{size // KIB} KiB" if size >= KIB else f"{size} B"


def _compare(name, ratio, limit, at_least, detail=""):
    sign = "at least" if at_least else "at most"
    wanted = f"{sign} {limit:g}"
    if ratio is None:
        return Outcome(name, wanted, "-", None, detail or "no samples in one regime")
    met = ratio.value >= limit if at_least else ratio.value <= limit
    text = f"{ratio.value:.3g} ({ratio.low:.3g} to {ratio.high:.3g})"
    if ratio.passes < 3:
        detail = (detail + "; " if detail else "") + f"only {ratio.passes} pass(es)"
    return Outcome(name, wanted, text, met, detail)


def _fastest_ratio(results, others, ours, direction, size):
    """(the fastest of `others`) over (the fastest of `ours`), and their names."""
    other = results.fastest(others, direction, size)
    mine = results.fastest(ours, direction, size)
    if other is None or mine is None:
        return None, ""
    return results.ratio((other, direction, size), (mine, direction, size)), f"{other} / {mine}"


def _throughput(results):
    ours = results.fastest((IN_PLACE, COPIED), ONE_WAY, 64) or IN_PLACE
    bare = results.ratio(BARE, (ours, ONE_WAY, 64))
    if bare is not None:
        factor = SHMEM_IPC_64_NS / SHMEM_IPC_BARE_NS
        bare.value, bare.low, bare.high = (x * factor for x in (bare.value, bare.low, bare.high))
    yield _compare("64 B one way, able to sleep: times shmem-ipc, both by the bare exchange",
                   bare, 8, True, f"{ours}; shmem-ipc: 41 ns at 112")
    yield _compare("64 B one way, able to sleep / unchecked ring",
                   results.ratio((ours, ONE_WAY, 64), (UNCHECKED, ONE_WAY, 64)), 1.3, False,
                   ours)
    yield _compare("typed 64 B one way: boost's spsc_queue / parley",
                   results.ratio(("boost spsc_queue", ONE_WAY, 64), ("parley typed", ONE_WAY, 64)),
                   2, True)
    yield _compare("typed 64 B one way: flag in slot / parley",
                   results.ratio(("flag in slot", ONE_WAY, 64), ("parley typed", ONE_WAY, 64)),
                   1.3, True)
    for size in (s for s in results.sizes() if s >= KIB):
        yield _compare(f"{_size(size)} one way / unchecked ring",
                       results.ratio((IN_PLACE, ONE_WAY, size), (UNCHECKED, ONE_WAY, size)),
                       1.03, False)
    for size, limit in ((64 * KIB, 0.95), (MIB, 0.9), (4 * MIB, 0.9)):
        ours = results.fastest(ALL_IN_PLACE, ONE_WAY, size) or IN_PLACE
        yield _compare(f"{_size(size)} one way: memcpy / parley",
                       results.ratio(("memcpy", ONE_WAY, size), (ours, ONE_WAY, size)),
                       limit, True, ours)
    size = 64 * KIB
    for name, others, limit in (("iceoryx", ICEORYX, 1.5), ("best unix socket", UNIX, 5)):
        ratio, detail = _fastest_ratio(results, others, ALL_IN_PLACE, ONE_WAY, size)
        yield _compare(f"64 KiB one way: {name} / parley", ratio, limit, True, detail)
    for size, limit in ((64 * KIB, 1.75), (MIB, 1.4)):
        # The fastest of each kind, so that no slow row makes the other look good.
        ratio, detail = _fastest_ratio(results, ALL_COPIED, ALL_IN_PLACE, ONE_WAY, size)
        yield _compare(f"{_size(size)} one way: copied out / in place", ratio, limit, False, detail)


def _round_trips(results):
    ours = results.fastest((IN_PLACE, COPIED), ROUND_TRIP, 64) or IN_PLACE
    yield _compare("64 B round trip / bare exchange",
                   results.ratio((ours, ROUND_TRIP, 64), BARE), 1, False, ours)
    for size in (MIB, 4 * MIB):
        ratio, detail = _fastest_ratio(results, ICEORYX, ALL_IN_PLACE, ROUND_TRIP, size)
        yield _compare(f"{_size(size)} round trip: iceoryx / parley", ratio, 1.3, True, detail)
        ratio, detail = _fastest_ratio(results, ICEORYX, ALL_COPIED, ROUND_TRIP, size)
        yield _compare(f"{_size(size)} round trip: iceoryx in place / parley copied out", ratio, 1,
                       True, detail)
    sleepers = results.row_names(("sleep",), ("parley",))
    for placement in (ONE_CORE, APART):
        ours = results.fastest(sleepers, ROUND_TRIP, 64, placement)
        ratio = ours and results.ratio((ours, ROUND_TRIP, 64), (EVENTFD, ROUND_TRIP, 64), placement)
        yield _compare(f"64 B sleeping round trip / bare eventfd exchange, {placement}",
                       ratio or None, 1.1, False, ours or "")


def _against_all(results):
    """Every size, spinning against spinning and sleeping against sleeping."""
    for direction in (ONE_WAY, ROUND_TRIP):
        for waiting in ("spin", "sleep"):
            ours = [name for name in results.row_names((waiting,), ("parley",))
                    if name.startswith(ALL_IN_PLACE + ALL_COPIED)
                    # The others have the usual pages as well.
                    and not name.endswith("huge pages")]
            others = [name for name in results.row_names((waiting,), ("kernel", "peer"))
                      if name not in ("boost spsc_queue", EVENTFD, "futex and shared memory")]
            worst, where = None, ""
            for size in results.sizes():
                ratio, detail = _fastest_ratio(results, others, ours, direction, size)
                if ratio is not None and (worst is None or ratio.value < worst.value):
                    worst, where = ratio, f"{_size(size)}: {detail}"
            yield _compare(f"{direction}, {waiting}, the worst size: fastest other / parley",
                           worst, 1, True, where)


def _instructions(micro):
    counts = {(case["what"], case["variant"]): case["instructions"] for case in micro or ()}
    for name, key, limit in (("typed slots", "typed 8 B", 1), ("records of 8 B", "record 8 B", 12)):
        title = f"{name}: instructions that validation adds to a send and a receive"
        checked, unchecked = counts.get((key, "checked")), counts.get((key, "checks off"))
        if checked is None or unchecked is None:
            yield Outcome(title, f"at most {limit}", "-", None, "./dev bench instructions")
            continue
        added = checked - unchecked
        yield Outcome(title, f"at most {limit}", f"{added:.1f}", added <= limit + 0.05,
                      f"{checked:.1f} with, {unchecked:.1f} without")


def _presets(data):
    for preset, direction in ((presets.BALANCED_FUTEX, ONE_WAY), (presets.BALANCED, ONE_WAY),
                              (presets.BALANCED_FUTEX, ROUND_TRIP), (presets.BALANCED, ROUND_TRIP)):
        doorbell = "futex" if preset == presets.BALANCED_FUTEX else "socket"
        title = (f"balanced preset, {doorbell} doorbell: processor time at 60 Hz and 1 kHz, "
                 f"both ends, {direction}")
        share = data and presets.balanced_share(data, direction, preset)
        if not share:
            yield Outcome(title, "under 3 %", "-", None, "./dev bench presets")
            continue
        middle, low, high = (100 * part for part in share[:3])
        yield Outcome(title, "under 3 %", f"{middle:.2f} % ({low:.2f} to {high:.2f})", middle < 3,
                      f"the worse: {share[3]}")
    title = "balanced preset: 100 kHz request and response / pure spin"
    ratio = data and presets.balanced_ratio(data)
    if not ratio:
        yield Outcome(title, "at most 2", "-", None, "./dev bench presets")
    else:
        yield _compare(title, Ratio(*ratio, regime=None), 2, False, "medians")


def outcomes(results, micro=None, studies=None):
    found = list(_throughput(results))
    found += _round_trips(results)
    found += _against_all(results)
    found += _instructions(micro)
    found += _presets((studies or {}).get("presets"))
    return found
