#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a build.ninja for the tests, from what Bazel knows, for places where Bazel doesn't run.

    plain_build.py --query FILE --labels FILE --source FOLDER --build FOLDER --place NAME
                   --compiler COMMAND [--flags TEXT] [--test-flags TEXT] --libs TEXT
                   [--ar COMMAND]

FILE is `bazel query --output=xml` of the tests' dependencies. Each library becomes an archive, each test and
each program that a test starts a program below BUILD/tree/parley, with its data beside it, and
BUILD/tree/manifest.json is what run_cases.py reads. --flags come after the targets' own copts, so
they win; --test-flags are for the tests' own sources alone. FOLDERs are paths as they are here;
inside of the root they are /src and /build.
"""

import argparse
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree

import collect
import expectations

_GTEST = "/usr/src/googletest"
_OUTSIDE = ("@libav", "@libpng", "@sdl2", "@bench_peers")


class Target:
    def __init__(self, rule):
        self.label, self.kind = rule.get("name"), rule.get("class")
        self.alwayslink = False
        lists = {"srcs": [], "deps": [], "data": [], "copts": [], "linkopts": [], "defines": [], "includes": []}
        for child in rule:
            name = child.get("name")
            if name in lists and child.tag == "list":
                lists[name] = [value.get("value") for value in child]
            elif name == "alwayslink":
                self.alwayslink = child.get("value") == "true"
        self.__dict__.update(lists)


def source_path(label):
    return collect.path_of(label)


class Graph:
    def __init__(self, path):
        self.targets = {}
        for rule in ElementTree.parse(path).getroot().iter("rule"):
            self.targets[rule.get("name")] = Target(rule)

    def libraries(self, label):
        """Those that `label` links, each before what it needs itself."""
        seen, order = set(), []

        def visit(name):
            if name in seen or name not in self.targets:
                return
            seen.add(name)
            for dep in self.targets[name].deps:
                visit(dep)
            order.append(name)

        visit(label)
        return [n for n in reversed(order) if n != label and n.startswith("//")]

    def outside(self, label):
        """The first dependency that only Bazel's own places have."""
        for name in [label, *self.libraries(label)]:
            for dep in self.targets[name].deps:
                if dep.startswith(_OUTSIDE):
                    return dep
        return ""

    def data(self, label):
        """(programs, files) that a target has beside it, through libraries and filegroups."""
        programs, files, seen = set(), set(), set()

        def visit(name, is_data):
            if (name, is_data) in seen:
                return
            seen.add((name, is_data))
            target = self.targets.get(name)
            if target is None:
                if is_data and name.startswith("//"):
                    files.add(source_path(name))
                return
            if is_data and target.kind in ("cc_binary", "cc_test"):
                programs.add(name)
            if is_data and target.kind == "filegroup":
                for source in target.srcs:
                    visit(source, True)
            for data in target.data:
                visit(data, True)
            for dep in target.deps:
                visit(dep, False)

        visit(label, False)
        return programs, files


class Ninja:
    def __init__(self, options):
        self._options, self._lines, self._made = options, [], set()
        self._lines += [
            f"cxx = {options.compiler}",
            f"flags = {options.flags}",
            f"libs = {options.libs} -pthread",
            "rule cc",
            "  command = $cxx -MD -MF $out.d -I /build/include -isystem "
            f"{_GTEST}/googletest/include -isystem {_GTEST}/googlemock/include $copts $flags -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "  description = $in",
            "rule ar",
            f"  command = rm -f $out && {options.ar} rcs $out $in",
            "  description = $out",
            "rule link",
            "  command = $cxx $copts $flags $in -o $out $archives $libs",
            "  description = $out",
        ]

    def compile(self, target, source):
        """The object of one source of one target."""
        path = source_path(source)
        out = f"/build/obj/{source_path(target.label)}/{path}.o"
        if out not in self._made:
            self._made.add(out)
            defines = [f"-D{d}" for d in target.defines]
            of_tests = [self._options.test_flags] if target.kind == "cc_test" else []
            copts = " ".join(target.copts + defines + of_tests)
            self._lines += [f"build {out}: cc /src/{path}", f"  copts = {copts}"]
        return out

    def archive(self, target):
        objects = [self.compile(target, s) for s in target.srcs if s.endswith((".cc", ".c"))]
        if not objects:
            return ""
        out = f"/build/lib/{source_path(target.label).replace('/', '_')}.a"
        if out not in self._made:
            self._made.add(out)
            self._lines.append(f"build {out}: ar {' '.join(objects)}")
        return out

    def gtest(self):
        out = "/build/lib/gtest.a"
        if out not in self._made:
            self._made.add(out)
            objects = []
            for name in ("googletest/src/gtest-all.cc", "googlemock/src/gmock-all.cc", "googlemock/src/gmock_main.cc"):
                objects.append(f"/build/obj/{os.path.basename(name)}.o")
                self._lines += [
                    f"build {objects[-1]}: cc {_GTEST}/{name}",
                    f"  copts = -w -std=c++20 -I {_GTEST}/googletest -I {_GTEST}/googlemock",
                ]
            self._lines.append(f"build {out}: ar {' '.join(objects)}")
        return out

    def program(self, graph, label):
        target = graph.targets[label]
        out = f"/build/tree/parley/{source_path(label)}"
        if out in self._made:
            return
        self._made.add(out)
        objects = [self.compile(target, s) for s in target.srcs if s.endswith((".cc", ".c"))]
        archives, plain = [], []
        linkopts = [o for o in target.linkopts if not o.startswith("-fsanitize")]  # of a select: not asked for
        for name in graph.libraries(label):
            library = graph.targets[name]
            archive = self.archive(library)
            linkopts += library.linkopts
            if archive:
                whole = library.alwayslink
                archives.append(f"-Wl,--whole-archive {archive} -Wl,--no-whole-archive" if whole else archive)
                plain.append(archive)
        if any("com_google_googletest" in d for n in [label, *graph.libraries(label)] for d in graph.targets[n].deps):
            archives.append(self.gtest())
            plain.append(self.gtest())
        self._lines += [
            f"build {out}: link {' '.join(objects)} | {' '.join(plain)}",
            f"  archives = {' '.join(archives)} {' '.join(linkopts)}",
            f"  copts = {' '.join(c for c in target.copts if c.startswith('-std'))}",
        ]

    def write(self, path):
        with open(path, "w", encoding="utf-8") as out:
            out.write("\n".join(self._lines) + "\n")


def main():
    parser = argparse.ArgumentParser()
    for name in ("query", "labels", "source", "build", "place", "compiler", "libs"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--flags", default="")
    parser.add_argument("--test-flags", default="")
    parser.add_argument("--ar", default="ar")
    options = parser.parse_args()

    graph, rules = Graph(options.query), expectations.Expectations(options.place)
    with open(options.labels, encoding="utf-8") as lines:
        wanted = [tuple(line.split(None, 1)) for line in lines.read().splitlines() if line]
    locations = collect.Locations(options.query)
    described = {label: rest for label, *rest in collect.read_query(options.query)}
    tree = os.path.join(options.build, "tree", "parley")
    shutil.rmtree(os.path.join(options.build, "tree"), ignore_errors=True)
    os.makedirs(tree)
    os.makedirs(os.path.join(options.build, "include"), exist_ok=True)
    link = os.path.join(options.build, "include", "parley")
    if not os.path.islink(link):
        os.symlink("/src", link)

    ninja, tests, left_out, data = Ninja(options), [], [], set()
    for (label,) in wanted:
        reason = rules.left_out(label)
        needs = graph.outside(label)
        if reason or needs:
            left_out.append({"target": label, "why": reason or f"needs {needs}"})
            continue
        kind, limit_s, args, gtest = described[label]
        ninja.program(graph, label)
        programs, files = graph.data(label)
        for program in programs:
            ninja.program(graph, program)
            data |= graph.data(program)[1]
        data |= files
        tests.append({
            "target": label, "program": source_path(label), "args": locations.resolve(label, args), "gtest": gtest,
            "limit_s": limit_s, "kind": "villain" if kind == "cc_binary" else "test",
        })
    for path in sorted(data):
        source, to = os.path.join(options.source, path), os.path.join(tree, path)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, to, dirs_exist_ok=True)
        elif os.path.exists(source):
            shutil.copy(source, to)
    ninja.write(os.path.join(options.build, "build.ninja"))
    with open(os.path.join(options.build, "tree", "manifest.json"), "w", encoding="utf-8") as out:
        json.dump({"tests": tests, "left_out": left_out}, out, indent=1)
    collect.copy_runner(os.path.join(options.build, "tree"))
    print(f"plain_build: {len(tests)} programs, {len(left_out)} left out", file=sys.stderr)


if __name__ == "__main__":
    main()
