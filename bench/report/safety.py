# SPDX-License-Identifier: Apache-2.0
"""What `./dev bench safety` measured: each check and each wall, on and off."""

import statistics

from layout import Table, number

KERNEL = "the kernel's work, which callgrind does not see"

# What -> a word to whoever reads its line. The order is that of the table.
MESSAGES = {
    "all checks, 8 B": "of positions and headers; off: the same code, over memory that is believed",
    "position checks, 8 B": "of how far the peer has come, headers believed in both; off: believed, too",
    "header checks, 8 B": "of a record's length; off: believed",
    "all checks, 64 B": "", "position checks, 64 B": "", "header checks, 64 B": "",
    "copied out, 64 B": "on: a private copy at both ends; off: in place",
    "copied out, 4 KiB": "",
    "copied out, 64 KiB": "not counted: callgrind's processor copies word by word, which says nothing",
    "mirrored mapping, 64 B": "off: mapped once, what wraps around is copied in two parts; in place "
                              "is impossible then",
    "mirrored mapping, 4 KiB": "", "mirrored mapping, 64 KiB": "as above",
    "full fence, 64 B": "a channel; off: the asymmetric fence, which the sleeper makes up for. In one "
                        "thread: between two the fence also waits for its stores",
    "sandbox, 64 B": "both ends confined; no system call is made, so the filter has nothing to do",
}
SLEEPS = {
    "full fence, a sleep": "off: the sleeper makes a barrier on the others (membarrier), a system call",
    "socket doorbell": "on: a socket, which a hostile peer can't block; off: an eventfd. Ring and take",
    "sandbox, a sleep": "both ends confined: each system call passes the filter. " + KERNEL,
    "time limit, a sleep": "two processes on one processor wake each other by bare futexes; here and "
                           "below with the scheduler. Off: a sleep without an end",
    "page of the other side's, a sleep": "the same, with a limit; off: the word is in a page that both "
                                         "may write",
    "barrier, a sleep": "the same, with both; off: no membarrier before the sleep",
}
SET_UP = {
    "guard pages, set-up": "a mapping of 64 KiB; off: one mmap at any address",
    "mirrored mapping, set-up": "the data of 64 KiB mapped twice; off: once",
    "seals, set-up": "a region of 64 KiB at both ends: sealed, verified and claimed; off: the same "
                     "memory and mappings, unlooked at",
}

# What no switch can turn off, and why.
INSEPARABLE = {
    "messages": [
        ("guard pages", "no code on this road: the same loads and stores through the same pages; see "
                        "the set-up"),
        ("seals", "a property of the file: the kernel looks at it when somebody maps or writes it, "
                  "never for a load or a store; see the set-up"),
        ("one fetch into private memory", "what is checked has to be in a register either way; without "
                                          "the checks it is fetched as often"),
    ],
    "sleeps": [],
    "set-up": [
        ("sandbox", "paid once for each process, not for each channel, and there is no way back to "
                    "take turns with"),
    ],
}


def _number(value):
    return f"-{number(-value)}" if value < 0 else number(value)


class _Case:
    def __init__(self):
        self.ns = {}
        self.failed = ""
        self.instructions = {}


def _cases(data, counts):
    found = {}
    for entry in data["cases"]:
        case = found.setdefault(entry["what"], _Case())
        case.ns[entry["variant"]] = entry["ns"]
        case.failed = case.failed or entry["failed"]
    for entry in counts or ():
        if entry["what"] in found:
            found[entry["what"]].instructions[entry["variant"]] = entry["instructions"]
    return found


def _times(case):
    on, off = case.ns.get("on"), case.ns.get("off")
    if not on or not off:
        return ["-"] * 5
    # Turn by turn: what slowed the machine down slowed both.
    costs = [a - b for a, b in zip(on, off)]
    cost = statistics.median(costs)
    base = statistics.median(off)
    return [number(statistics.median(on)), number(base), _number(cost),
            f"{_number(min(costs))} to {_number(max(costs))}", f"{100 * cost / base:.0f} %"]


def _counts(case):
    on, off = case.instructions.get("on"), case.instructions.get("off")
    if on is None or off is None:
        return ["-"] * 3
    return [f"{on:.1f}", f"{off:.1f}", f"{on - off:.1f}"]


def _table(title, words, cases, known, inseparable):
    lines = []
    for what, note in known.items():
        if what in cases:
            case = cases[what]
            failed = f"FAILED: {case.failed}" if case.failed else note
            lines.append([what] + _times(case) + _counts(case) + [failed])
    if lines:
        lines += [[what] + ["-"] * 8 + [f"not to be separated: {why}"] for what, why in inseparable]
    return Table(f"Cost of safety, {title}",
                 ["what", "on, ns", "off, ns", "cost, ns", "range", "cost", "instructions, on", "off",
                  "cost", "note"], lines, words)


def tables(data, counts=None):
    cases = _cases(data, counts)
    for what in cases:
        if what not in {**MESSAGES, **SLEEPS, **SET_UP}:
            raise KeyError(f"bench/report/safety.py has no place for '{what}'")
    return [
        _table("for each message sent and received",
               "Both ends in one thread, so that no line moves between caches: what the code itself "
               "costs. Each cost in ns is the median over turns of on less off, with its range; "
               "instructions are exact (callgrind), and what to judge by: a cost below zero in ns "
               "is one of how the compiler laid the code out.", cases, MESSAGES, INSEPARABLE["messages"]),
        _table("for each sleep that a message ends",
               "Announced, rung and taken in one thread, without the scheduler's share, but for the last "
               "three. No instructions: " + KERNEL + ".", cases, SLEEPS, INSEPARABLE["sleeps"]),
        _table("for each channel that is made", "No instructions: " + KERNEL + ".", cases, SET_UP,
               INSEPARABLE["set-up"]),
    ]
