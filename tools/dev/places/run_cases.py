#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs test programs case by case and writes one line of JSON for each event.

    run_cases.py --tree FOLDER --out FILE [--scale N] [--tries N] [--only REGEX] [--villain REGEX] [--append]

FOLDER is what collect.py made: `manifest.json`, and the programs with their data below `parley/`. The
script needs nothing but Python's own library, since it also runs inside of a guest kernel.

Events: {"place": ...} first; {"target", "case", "result", "ms", "why", "tries"} for each case, with
the result "passed", "failed" or "skipped"; {"end": true} last. A case that ends or hangs its program
counts as failed, and the program's other cases run all the same. --scale multiplies the limits on
time of whole programs, --tries repeats a failed case alone; a case that passes then is written with
the number of its tries. --villain runs those of the villain's cases whose names match. If FOLDER has a
`done.json`, a list of [target, case], what it names is not run again: a whole program for a test, a case for the villain.
"""

import argparse
import json
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

_RUN = re.compile(r"\[ RUN      \] (\S+)")
_END = re.compile(r"\[ +(OK|FAILED|SKIPPED) +\] ([^\s,]+)(?:, where .*)? \((\d+) ms\)")
_REASON_BYTES = 600


def skip_reason(lines):
    """GoogleTest prints `file:line: Skipped` and then the reason."""
    for i, line in enumerate(lines):
        if line.rstrip().endswith(": Skipped"):
            return " ".join(l.strip() for l in lines[i + 1 :] if l.strip())[:_REASON_BYTES]
    return ""


def failure_reason(lines):
    for i, line in enumerate(lines):
        if ": Failure" in line:
            return " / ".join(l.strip() for l in lines[i : i + 8] if l.strip())[:_REASON_BYTES]
    return " / ".join(l.strip() for l in lines[-4:] if l.strip())[:_REASON_BYTES]


class Program:
    """One start of a test program: its lines, until it ends or `limit_s` are over."""

    def __init__(self, command, cwd, env, limit_s):
        self.timed_out = False
        self._deadline = time.monotonic() + limit_s
        self._process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )

    def lines(self):
        pending = b""
        pipe = self._process.stdout.fileno()
        while True:
            # A child that was left behind may hold the pipe open: the program's own end counts.
            ended = self._process.poll() is not None
            ready, _, _ = select.select([pipe], [], [], 0.05 if ended else 0.5)
            if ready:
                data = os.read(pipe, 65536)
                if not data:
                    break
                pending += data
                *whole, pending = pending.split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
            elif ended:
                break
            if time.monotonic() > self._deadline:
                self.timed_out = True
                break
        if pending:
            yield pending.decode(errors="replace")

    def finish(self):
        """How it ended, in words; "" if well."""
        try:
            if self.timed_out:
                os.killpg(self._process.pid, signal.SIGKILL)
            status = self._process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            status = self._process.poll()
        self._process.stdout.close()
        if self.timed_out:
            return "still running when its time was over"
        if status is None:
            return "did not end"
        if status < 0:
            return f"ended by signal {-status}"
        return f"exit code {status}" if status else ""


class Runner:
    def __init__(self, options, emit):
        self._options = options
        self._emit = emit
        self._tree = os.path.abspath(options.tree)
        self._done = set()
        if os.path.exists(os.path.join(self._tree, "done.json")):
            with open(os.path.join(self._tree, "done.json"), encoding="utf-8") as done:
                self._done = {tuple(pair) for pair in json.load(done)}
        self._scratch = tempfile.mkdtemp(prefix="p")

    def close(self):
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self, test, arguments):
        for name in os.listdir(self._scratch):
            path = os.path.join(self._scratch, name)
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
        env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": self._scratch,
            "TMPDIR": self._scratch,
            "TEST_TMPDIR": self._scratch,
            "TEST_SRCDIR": self._tree,
            "TEST_WORKSPACE": "parley",
            "RUNFILES_DIR": self._tree,
        }
        for pair in self._options.env:
            name, _, value = pair.partition("=")
            env[name] = value
        cwd = os.path.join(self._tree, "parley")
        command = [os.path.join(cwd, test["program"]), *test["args"], *arguments]
        return Program(command, cwd, env, test["limit_s"] * self._options.scale)

    def _cases_of(self, test, only):
        """Yields (case, result, ms, why). `only` is a case to run alone, or None."""
        done = set()
        while True:
            flags = [f"--gtest_filter={only}"] if only else []
            if done:
                flags = ["--gtest_filter=-" + ":".join(sorted(done))]
            started = time.monotonic()
            running, began, lines, found = None, 0, [], False
            program = self._start(test, flags if test["gtest"] else [])
            for line in program.lines():
                begin, end = _RUN.search(line), _END.search(line)
                if begin:
                    running, began, lines, found = begin.group(1), time.monotonic(), [], True
                elif end and running == end.group(2):
                    result = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}[end.group(1)]
                    why = ""
                    if result == "skipped":
                        why = skip_reason(lines) or "no reason given"
                    elif result == "failed":
                        why = failure_reason(lines)
                    done.add(running)
                    yield running, result, int(end.group(3)), why
                    running, lines = None, []
                else:
                    lines = lines[-400:] + [line]
            how = program.finish()
            elapsed = int((time.monotonic() - started) * 1000)
            if not test["gtest"]:
                yield test["target"], "failed" if how else "passed", elapsed, (
                    f"{how}: {failure_reason(lines)}" if how else ""
                )
                return
            if running:  # its program ended in the midst of it
                done.add(running)
                ms = int((time.monotonic() - began) * 1000)
                yield running, "failed", ms, f"{how or 'its program ended'}: {failure_reason(lines)}"
                if only:
                    return
                continue
            if not found and not done:
                yield test["target"], "failed", elapsed, f"{how or 'no case ran'}: {failure_reason(lines)}"
            elif how and not how.startswith("exit code 1"):
                yield test["target"], "failed", elapsed, f"{how}, after its cases"
            return

    def is_built(self, test):
        if os.path.exists(os.path.join(self._tree, "parley", test["program"])):
            return True
        self._emit(target=test["target"], case=test["target"], result="failed", ms=0,
                   why="it was not built", tries=1)
        return False

    def is_done(self, test):
        return (test["target"], "") in self._done

    def run(self, test):
        failed = []
        for case, result, ms, why in self._cases_of(test, None):
            if result == "failed" and self._options.tries > 1:
                failed.append((case, why))
            else:
                self._emit(target=test["target"], case=case, result=result, ms=ms, why=why, tries=1)
        for case, first_why in failed:
            result, ms, why, tries = "failed", 0, first_why, 1
            while result == "failed" and tries < self._options.tries:
                tries += 1
                alone = case if test["gtest"] and case != test["target"] else None
                for _, result, ms, why in self._cases_of(test, alone):
                    if result == "failed":
                        break
            # What a retried case says first is why it was tried again.
            self._emit(target=test["target"], case=case, result=result, ms=ms,
                       why=why if result == "failed" else first_why, tries=tries)

    def run_villain(self, test):
        """`villain run`: each of its cases is one of ours, so that a verdict has its own line."""
        names = []
        program = self._start(test, ["list"])
        for line in program.lines():
            words = line.split()
            if len(words) > 2 and words[1] != "cases":
                names.append(words[1])
        if program.finish() or not names:
            self._emit(target=test["target"], case="villain list", result="failed", ms=0,
                       why="it lists no case", tries=1)
        for name in names:
            if (test["target"], "villain: " + name) in self._done or not re.search(self._options.villain, name):
                continue
            result, why, first_why, ms, tries = "failed", "", "", 0, 0
            while result == "failed" and tries < max(1, self._options.tries):
                tries += 1
                started = time.monotonic()
                program = self._start(test, ["run", "--json", name])
                text = "\n".join(program.lines())
                how = program.finish()
                ms = int((time.monotonic() - started) * 1000)
                try:
                    found = json.loads(text[text.index("[\n") :])
                    verdicts = {r["verdict"] for r in found}
                    why = "; ".join(r["why"] for r in found if r["why"])
                except (ValueError, KeyError):
                    verdicts, why = set(), f"{how}: {text[-300:]}"
                if verdicts and verdicts <= {"PASS", "SKIP"}:
                    result = "skipped" if "SKIP" in verdicts else "passed"
                else:
                    why = f"{', '.join(sorted(verdicts))}: {why}"
                    first_why = first_why or why
            if result == "passed":
                why = first_why if tries > 1 else ""
            self._emit(target=test["target"], case="villain: " + name, result=result, ms=ms,
                       why=why[:_REASON_BYTES], tries=tries)


def place():
    described = {"kernel": platform.release(), "machine": platform.machine(),
                 "processors": os.cpu_count(), "libc": " ".join(platform.libc_ver())}
    try:
        with open("/proc/version", encoding="utf-8") as version:
            described["version"] = version.read().strip()
    except OSError:
        pass
    return described


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--only", default="")
    parser.add_argument("--villain", default="")
    parser.add_argument("--append", action="store_true", help="to what FILE has")
    options = parser.parse_args()

    with open(os.path.join(options.tree, "manifest.json"), encoding="utf-8") as manifest:
        tests = json.load(manifest)["tests"]
    out = open(options.out, "a" if options.append else "w", encoding="utf-8")

    def emit(**event):
        out.write(json.dumps(event) + "\n")
        out.flush()

    emit(place=place())
    runner = Runner(options, emit)
    try:
        for test in tests:
            if not re.search(options.only, test["target"]) or runner.is_done(test):
                continue
            emit(begin=test["target"])
            if not runner.is_built(test):
                continue
            if test["kind"] == "villain":
                runner.run_villain(test)
            else:
                runner.run(test)
    finally:
        runner.close()
    emit(end=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
