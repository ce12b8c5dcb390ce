# SPDX-License-Identifier: Apache-2.0
"""Instructions and nanoseconds of a send and a receive, with and without the checks.

    instructions.py PROGRAM [FILE]     prints a table; writes FILE, as JSON
    instructions.py --self-test

Each case runs twice under callgrind, with different numbers of pairs, and the difference is divided
by the difference of the numbers: so nothing but the pairs is counted, exactly, and the figure is the
same in every run. The times are those of loops in one thread.
"""

import json
import subprocess
import sys

import callgrind

FEW, MANY = 1_600, 17_600  # a ring's worth of positions and more, in whole batches


def output(command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure(program):
    timed = {(case["what"], case["variant"]): case for case in json.loads(output([program, "--time"]))}
    found = []
    for line in output([program, "--list"]).splitlines():
        what, variant = line.split("\t")
        few, many = (callgrind.count([program, what, variant, str(pairs)]) for pairs in (FEW, MANY))
        time = timed[what, variant]
        found.append({"what": what, "variant": variant, "instructions": (many - few) / (MANY - FEW),
                      "ns": time["ns"], "low_ns": time["low_ns"], "high_ns": time["high_ns"]})
    return found


def added_by_checks(cases):
    """What validation adds to a pair, of each case that was measured with and without it."""
    counts = {(case["what"], case["variant"]): case["instructions"] for case in cases}
    return [(what, count - counts[what, "checks off"]) for (what, variant), count in counts.items()
            if variant == "checked" and (what, "checks off") in counts]


def show(cases):
    print(f"{'send and receive':22} {'variant':26} {'instructions':>12} {'ns':>7}  range")
    for case in cases:
        print(f"{case['what']:22} {case['variant']:26} {case['instructions']:12.1f} "
              f"{case['ns']:7.2f}  {case['low_ns']:.2f} to {case['high_ns']:.2f}")
    added = added_by_checks(cases)
    if added:
        print("\nvalidation adds to a send and a receive:")
    for what, count in added:
        print(f"{what:22} {count:6.1f} instructions")


def main():
    if sys.argv[1:] == ["--self-test"]:
        import self_test

        return self_test.main()
    try:
        found = measure(sys.argv[1])
    except callgrind.Failed as failed:
        print(f"instructions: {failed}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failed:
        print(f"instructions: {failed}", file=sys.stderr)
        return 1
    show(found)
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w", encoding="utf-8") as stream:
            json.dump(found, stream, indent=1)
            stream.write("\n")
        print(sys.argv[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
