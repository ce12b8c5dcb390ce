# SPDX-License-Identifier: Apache-2.0
"""What `./dev bench waiting` measured: a WaitSet with many channels, and beside a flood."""

import statistics

from layout import Table, number

FLOODS = {
    "none": "none",
    "elsewhere": "the same process signals a socket of its own",
    "signals": "signals without data on one of our channels",
    "messages": "messages without end on one of our channels",
}


def _range(values, digits=2):
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def _ratios(values, base):
    return [a / b for a, b in zip(values, base)]


def _ready(data):
    lines = []
    for case in data["ready"]:
        ratios = _ratios(case["ns"], data["ready"][0]["ns"])
        lines.append([number(case["channels"]), number(statistics.median(case["ns"])),
                      f"{statistics.median(ratios):.2f}", _range(ratios)])
    return Table(
        "Waiting for many: ten active channels among others", [
            "channels in the set", "a message, ns", "times ten alone", "range"
        ], lines, "RunOnce, the handler, the message taken, ready to wait again; ten messages are there "
        "already, so that nobody sleeps. Medians over the passes of medians over the rounds; the ratios are "
        "those within a pass.")


def _round_trips(data):
    trips = data["round_trips"]
    base = next((case for case in trips if case["flood"] == "elsewhere"), None)
    lines = []
    for case in trips:
        line = [number(case["channels"]), FLOODS[case["flood"]],
                f"{statistics.median(case['p50_ns']) / 1e3:.1f}",
                f"{statistics.median(case['p99_ns']) / 1e3:.1f}"]
        if base is not None and case["flood"] in ("signals", "messages"):
            ratios = _ratios(case["p99_ns"], base["p99_ns"])
            line += [f"{statistics.median(ratios):.2f}", _range(ratios)]
        else:
            line += ["-", "-"]
        lines.append(line)
    return Table(
        "Waiting for many: beside a flood", [
            "channels in the set", "flood", "median, us", "p99, us", "p99, times elsewhere", "range"
        ], lines, "Round trips of 64 B on ten channels by turns, both ends sleep. The flood takes a processor "
        "wherever it goes, so it is compared with the same one that goes elsewhere. Where it is dropped for its "
        "violation it connects again. Each pass has windows of all conditions by turns. Medians over the passes; the ratios are those "
        "within a pass.")


def tables(data):
    return [_ready(data), _round_trips(data)]
