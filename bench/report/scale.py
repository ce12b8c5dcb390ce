# SPDX-License-Identifier: Apache-2.0
"""What `./dev bench scale` measured: many channels, large rings, long runs."""

import statistics

from layout import Table, TextTable, number

KIB = 1024


def _bytes(count):
    for unit, size in (("GiB", KIB**3), ("MiB", KIB**2), ("KiB", KIB)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g} B"


def _channels(data):
    lines = []
    for case in data["channels"]:
        count = case["channels"]

        def each(what, case=case, count=count):
            return (case["after"][what] - case["before"][what]) / count

        lines.append([number(count), _bytes(max(each("shmem"), 0)), _bytes(max(each("anon"), 0)),
                      number(each("descriptors")), number(each("mappings")),
                      number(count / case["set_up_s"]), number(case["one_ready_ns"]),
                      number(case["all_ready_ns"]), number(case["arm_ns"]), number(case["poll_ns"])])
    return Table(
        "Where it grows: channels in one process",
        ["channels", "shared memory each", "private each", "descriptors each", "mappings each",
         "set up per second", "one ready, ns", "all ready, ns each", "prepare to wait, ns each",
         "look, ns each"], lines,
        "All to one other process, made by name, with two rings of the default size. Memory is what "
        "became resident in the accepting process, where a ring's data are mapped twice and counted "
        "twice: the memory itself is about half of it. \"Ready\": epoll_wait over all descriptors, the "
        "message taken, ready to wait again, with the event there already, so that nobody sleeps; "
        "medians. \"Look\": a TryReceive that finds nothing.")


def _rings(data):
    cells = {}
    for ring in data["rings"]:
        cells.setdefault(int(ring["ring"]), {}).setdefault(int(ring["size"]), []).append(ring)
    sizes = sorted({size for row in cells.values() for size in row})
    lines = []
    for ring, row in sorted(cells.items()):
        set_up = [sample["set_up_s"] * 1e3 for samples in row.values() for sample in samples]
        line = [_bytes(ring), f"{statistics.median(set_up):.2f}",
                f"{min(set_up):.2f} to {max(set_up):.2f}"]
        for size in sizes:
            times = [sample["message_ns"] for sample in row.get(size, [])]
            line.append(number(statistics.median(times)) if times else "-")
            line.append(f"{number(min(times))} to {number(max(times))}" if times else "-")
        lines.append(line)
    head = ["ring", "set-up, ms", "range"]
    for size in sizes:
        head += [f"{_bytes(size)}, ns", "range"]
    probes = [s[key] for s in data["rings"] for key in ("probe_before_ns", "probe_after_ns")]
    words = ("Set-up: the slower end, from an open socket to a channel; two rings of that size, with "
             "every page there. Then one way, in place, spinning, each end on a processor of its own.")
    if probes:
        words += (f" The bare exchange beside them took {number(min(probes))} to "
                  f"{number(max(probes))} ns.")
    return Table("Where it grows: rings from a page to a gigabyte", head, lines, words)


def _drift(data):
    lines = []
    for drift in data["drift"]:
        rates = drift["per_second"]
        if rates:
            lines.append([f"messages per second, {len(rates)} windows of {drift['window_s']:g} s",
                          number(min(rates)), number(statistics.median(rates)), number(max(rates))])
            half = len(rates) // 2
            if half:
                change = statistics.median(rates[half:]) / statistics.median(rates[:half])
                lines.append(["second half / first half", "", f"{change:.3f}", ""])
    return TextTable("Where it grows: flat out, 64 B in place", ["what", "least", "median", "most"],
                     lines)


def _leaks(data):
    lines = []
    for drift in data["drift"]:
        for end, before, after in zip(("sender", "receiver"), drift["begin"], drift["end"]):
            for what in ("rss", "anon", "descriptors", "mappings"):
                show = _bytes if what in ("rss", "anon") else number
                lines.append([f"{end}, {what}", show(before[what]), show(after[what])])
    minutes = data["drift"][0]["seconds"] / 60 if data["drift"] else 0
    messages = data["drift"][0]["messages"] if data["drift"] else 0
    return TextTable(f"Where it grows: what the ends hold, before and after {minutes:g} minutes and "
                     f"{number(messages)} messages", ["what", "before", "after"], lines)


def _failed(data):
    return TextTable("Where it grows: FAILED", ["what"], [[text] for text in data["failed"]])


def tables(data):
    return [_channels(data), _rings(data), _drift(data), _leaks(data), _failed(data)]
