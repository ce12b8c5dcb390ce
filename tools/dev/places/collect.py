#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copies built test programs, and what they read and load, into one folder for another place.

    collect.py --query FILE --place NAME [--only REGEX] (--labels | --bin FOLDER --to FOLDER)

FILE is what `bazel query --output=xml` says of the tests and of the villain, FOLDER is bazel-bin. Makes
`manifest.json`, which run_cases.py reads, and `parley/`, all runfiles in one tree. Targets that
expectations.txt leaves out of that place are not copied; the manifest has them with the reason. --labels
prints what would be copied.
"""

import argparse
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree

import expectations

VILLAIN = "//villain:villain"

# Bazel's own limits for the sizes of tests.
_LIMIT_S = {"small": 60, "medium": 300, "large": 900, "enormous": 3600}


def path_of(label):
    return label.removeprefix("//").replace(":", "/").lstrip("/")


def read_query(path):
    """[(label, kind, limit_s, args, gtest)] in the order of their labels."""
    found = []
    for rule in ElementTree.parse(path).getroot().iter("rule"):
        label, kind = rule.get("name"), rule.get("class")
        if kind != "cc_test" and label != VILLAIN:
            continue
        size, args, gtest = "small", [], False
        for child in rule:
            if child.get("name") == "size":
                size = child.get("value")
            elif child.get("name") == "args":
                args = [value.get("value") for value in child]
            elif child.get("name") == "deps":
                gtest = any("com_google_googletest" in value.get("value", "") for value in child)
        found.append((label, kind, _LIMIT_S[size], args, gtest))
    return sorted(found)


class Locations:
    """$(rootpaths :files) and its relatives in a target's arguments."""

    def __init__(self, path):
        self._groups = {}
        for rule in ElementTree.parse(path).getroot().iter("rule"):
            if rule.get("class") == "filegroup":
                self._groups[rule.get("name")] = [
                    value.get("value") for child in rule if child.get("name") == "srcs" for value in child
                ]

    def _files(self, label):
        if label not in self._groups:
            return [path_of(label)]
        return [file for source in self._groups[label] for file in self._files(source)]

    def resolve(self, target, arguments):
        result = []
        for argument in arguments:
            match = re.fullmatch(r"\$\((?:location|locations|rootpath|rootpaths) ([^)]*)\)", argument)
            if not match:
                result.append(argument)
                continue
            label = match.group(1)
            result += self._files(target.split(":")[0] + label if label.startswith(":") else label)
        return result


def copy_tree(source, target):
    """Follows links: the tree must stand on its own elsewhere. What is there already stays."""
    for folder, _, names in os.walk(source, followlinks=True):
        into = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(into, exist_ok=True)
        for name in names:
            to = os.path.join(into, name)
            if not os.path.lexists(to):
                shutil.copy(os.path.join(folder, name), to)


def copy_runner(to):
    """What runs the programs of a tree, beside its manifest."""
    here = os.path.dirname(os.path.abspath(__file__))
    for name in ("run_cases.py", "guest_init.sh"):
        shutil.copy(os.path.join(here, name), to)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--query", required=True)
    parser.add_argument("--bin", default="")
    parser.add_argument("--place", required=True)
    parser.add_argument("--to", default="")
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()

    rules, locations = expectations.Expectations(options.place), Locations(options.query)
    if not options.labels:
        shutil.rmtree(options.to, ignore_errors=True)
    tree = os.path.join(options.to, "parley")
    if not options.labels:
        os.makedirs(tree)
    tests, left_out = [], []
    for label, kind, limit_s, args, gtest in read_query(options.query):
        reason = rules.left_out(label)
        if reason:
            left_out.append({"target": label, "why": reason})
            continue
        if not re.search(options.only, label):
            continue
        if options.labels:
            print(label)
            continue
        program = os.path.join(options.bin, path_of(label))
        if not os.path.exists(program + ".runfiles/parley"):
            sys.exit(f"collect: {label} was not built: no {program}.runfiles")
        copy_tree(program + ".runfiles/parley", tree)
        tests.append({
            "target": label, "program": path_of(label), "args": locations.resolve(label, args), "gtest": gtest,
            "limit_s": limit_s, "kind": "villain" if kind == "cc_binary" else "test",
        })
    if options.labels:
        return
    with open(os.path.join(options.to, "manifest.json"), "w", encoding="utf-8") as out:
        json.dump({"tests": tests, "left_out": left_out}, out, indent=1)
    copy_runner(options.to)
    print(f"collect: {len(tests)} programs in {options.to}, {len(left_out)} left out", file=sys.stderr)


if __name__ == "__main__":
    main()
