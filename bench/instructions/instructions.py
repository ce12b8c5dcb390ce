"""Instructions and nanoseconds of a send and a receive, with and without the checks.

    instructions.py PAIRS_BINARY [FOLDER]     prints a table; writes FOLDER/instructions.json

Each case runs twice under callgrind, with different numbers of pairs, and the difference is divided
by the difference of the numbers: so nothing but the pairs is counted, exactly, and the figure is the
same in every run. The times are those of loops in one thread.
"""

import json
import os
import re
import subprocess
import sys

FEW, MANY = 1_600, 17_600  # a ring's worth of positions and more, in whole batches


def instructions(binary, what, variant, pairs):
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary, what, variant,
         str(pairs)], capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def measure(binary):
    listed = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout
    timed = json.loads(
        subprocess.run([binary, "--time"], capture_output=True, text=True, check=True).stdout)
    found = []
    for line in listed.splitlines():
        what, variant = line.split("\t")
        count = (instructions(binary, what, variant, MANY)
                 - instructions(binary, what, variant, FEW)) / (MANY - FEW)
        time = next(t for t in timed if t["what"] == what and t["variant"] == variant)
        found.append({"what": what, "variant": variant, "instructions": count, "ns": time["ns"],
                      "low_ns": time["low_ns"], "high_ns": time["high_ns"]})
    return found


def main():
    binary = sys.argv[1]
    found = measure(binary)
    print(f"{'send and receive':22} {'variant':26} {'instructions':>12} {'ns':>7}  range")
    for case in found:
        print(f"{case['what']:22} {case['variant']:26} {case['instructions']:12.1f} "
              f"{case['ns']:7.2f}  {case['low_ns']:.2f} to {case['high_ns']:.2f}")
    if len(sys.argv) > 2:
        path = os.path.join(sys.argv[2], "instructions.json")
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(found, stream, indent=1)
            stream.write("\n")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
