#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a run that did not get to its end need not do again.

    done.py --tree FOLDER --events FILE [--more]

Writes FOLDER/done.json for run_cases.py: with --more the programs that FILE, an earlier run's events, has whole, and
the villain's cases in it; without, nothing. FILE counts if its programs were those of FOLDER, byte by byte,
which FILE.digest says; else it is an error. Without --more FILE is emptied.
"""

import argparse
import hashlib
import json
import os
import sys


def digest(tree):
    total = hashlib.sha256()
    with open(os.path.join(tree, "manifest.json"), "rb") as manifest:
        text = manifest.read()
    total.update(text)
    for test in json.loads(text)["tests"]:
        with open(os.path.join(tree, "parley", test["program"]), "rb") as program:
            total.update(hashlib.sha256(program.read()).digest())
    return total.hexdigest()


def whole(lines):
    """[target, ""] for each program after which another one began, and [target, case] for the villain's."""
    found, begun = [], ""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if "begin" in event or "end" in event:
            found += [[begun, ""]] if begun else []
            begun = event.get("begin", "")
        elif "place" in event:
            begun = ""  # another start: what was going on then is not whole
        elif event.get("case", "").startswith("villain: "):
            found.append([event["target"], event["case"]])
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", required=True)
    parser.add_argument("--events", required=True)
    parser.add_argument("--more", action="store_true")
    options = parser.parse_args()
    found, now = [], digest(options.tree)
    if options.more and os.path.exists(options.events):
        with open(options.events + ".digest", encoding="utf-8") as file:
            if file.read() != now:
                sys.exit(f"done: {options.events} is of other programs: run it again without --more")
        with open(options.events, encoding="utf-8", errors="replace") as events:
            found = whole(events.read().splitlines())
        with open(options.events, "a", encoding="utf-8") as events:
            events.write("\n")  # half a line may be there
    else:
        open(options.events, "w").close()
    with open(options.events + ".digest", "w", encoding="utf-8") as file:
        file.write(now)
    with open(os.path.join(options.tree, "done.json"), "w", encoding="utf-8") as out:
        json.dump(found, out)
    print(f"done: {len(found)} programs and cases are not run again", file=sys.stderr)


if __name__ == "__main__":
    main()
