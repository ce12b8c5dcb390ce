# SPDX-License-Identifier: Apache-2.0
"""Runs libFuzzer programs, several at once if asked to, for `dev fuzz`.

Each target has a folder: seeds (the corpus of the tree), work (what was found before), crashes, log.
One line per run goes to the results file, which tools/dev/fuzz_record.py turns into a table.
--time is processor time: on a busy machine an hour of the clock may be minutes of fuzzing.
"""

import argparse
import collections
import ctypes
import datetime
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lint"))
import source

COLUMNS = ["target", "commit", "wall_s", "cpu_s", "executions", "edges", "features", "corpus", "verdict", "sources",
           "ended_utc"]
PROGRESS_SECONDS = 10
PATIENCE_SECONDS = 20  # for a fuzzer that was told to stop
LAST_INPUT_SECONDS = 180  # for one that was told that its time is over: it ends after its input
INPUT_SECONDS = 120  # for one input, by the clock: a process with the lowest priority may wait long
PR_SET_PDEATHSIG = 1


def corpora(query_output):
    """What `bazel query --output=build` says of filegroups: name -> files, from the root."""
    found = {}
    for rule in re.split(r"\n(?=filegroup\()", "\n" + query_output):
        name = re.search(r'name = "([^"]*)_corpus"', rule)
        files = re.search(r"srcs = \[(.*?)\]", rule, re.DOTALL)
        if name and files:
            labels = re.findall(r'"//([^"]*)"', files.group(1))
            found[name.group(1)] = [label.replace(":", "/", 1).lstrip("/") for label in labels]
    return found


def says(path):
    """What a file says to a compiler: C++ without its comments and line breaks, others as they are."""
    data = path.read_bytes()
    return source.tokens(data.decode(errors="replace")).encode() if path.suffix in (".h", ".cc") else data


def digests(root, graph, labels):
    """Label -> digest of the sources of this repository that it is built from, by what `bazel query
    --output=graph` says. Not what the seeds, comments or BUILD files say; so it is the same in each
    checkout, before and after a rebase, and in a tree with changes elsewhere."""
    needs = collections.defaultdict(list)
    for user, used in re.findall(r'^ *"([^"]*)" -> "([^"]*)"$', graph, re.MULTILINE):
        needs[user].append(used)
    found, known = {}, {}
    for label in labels:
        seen, waiting = {label}, [label]
        while waiting:
            for other in needs[waiting.pop()]:
                # Seeds are no part of it; the program that replays them takes libFuzzer's place.
                if other not in seen and not other.endswith(("_corpus", "//testing:replay_main")):
                    seen.add(other)
                    waiting.append(other)
        digest = hashlib.sha256()
        for file in sorted(other[2:].replace(":", "/", 1).lstrip("/") for other in seen if other.startswith("//")):
            if (root / file).is_file():
                if file not in known:
                    known[file] = hashlib.sha256(says(root / file)).digest()
                digest.update(file.encode() + b"\0" + known[file])
        found[label] = digest.hexdigest()[:12]
    return found


def copy_seeds(root, files, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        data = (root / file).read_bytes()
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def die_with_the_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Run:
    """One target, from its start to its line of results."""

    def __init__(self, target, sources, program, dictionary, folder, options):
        self.target = target
        self.sources = sources
        self.seconds = options.time
        self.folder = folder
        self.log = folder / "log"
        for part in ("work", "crashes"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self.command = [
            str(program), "-print_final_stats=1", f"-timeout={INPUT_SECONDS}", "-rss_limit_mb=2048",
            f"-artifact_prefix={folder / 'crashes'}/", *([f"-dict={dictionary}"] if dictionary else []),
            *options.flags, str(folder / "work"), str(folder / "seeds")]
        self.usage = None
        self.code = None
        self.stopped = False
        self.asked = None

    def start(self, show):
        print("+", *self.command, file=sys.stderr)
        environment = dict(os.environ, ASAN_SYMBOLIZER_PATH="/usr/bin/llvm-symbolizer-19",
                           UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
        self.began = time.monotonic()
        self.reported = self.began
        with open(self.log, "wb") as log:
            # A session of its own: Ctrl-C is for us, and we pass it on.
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            env=environment, start_new_session=True, preexec_fn=die_with_the_parent)
        self.shown = open(self.log, "rb") if show else None

    def over(self):
        if self.code is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid == 0:
                return False
            self.wall = time.monotonic() - self.began
            self.usage, self.code = usage, os.waitstatus_to_exitcode(status)
            self.process.returncode = self.code
        return True

    def cpu_seconds(self):
        """Processor time so far, that of children that ended included."""
        try:
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            return 0.0
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def late(self):
        """Asks libFuzzer to end once its processor time is used, and says whether it did not."""
        if self.asked is None:
            if self.cpu_seconds() >= self.seconds:
                self.asked = time.monotonic()
                self.process.send_signal(signal.SIGUSR1)
            return False
        return time.monotonic() - self.asked > LAST_INPUT_SECONDS

    def tell(self, number):
        """A signal for the fuzzer and what it started."""
        self.stopped = True
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def last_status(self):
        """The numbers in libFuzzer's last line that has them."""
        numbers = {}
        with open(self.log, "rb") as log:
            log.seek(max(0, os.path.getsize(self.log) - 65536))
            for line in log.read().decode(errors="replace").splitlines():
                if (line.startswith("#") and " cov: " in line) or line.startswith("stat::"):
                    numbers.update(re.findall(r"(cov|ft|corp|exec/s|stat::number_of_executed_units): *(\d+)", line))
                    runs = re.match(r"#(\d+)", line)
                    if runs:
                        numbers["runs"] = runs.group(1)
        return numbers

    def progress(self):
        if self.shown:
            sys.stderr.buffer.write(self.shown.read())
            sys.stderr.flush()
        elif time.monotonic() - self.reported >= PROGRESS_SECONDS:
            self.reported = time.monotonic()
            now = self.last_status()
            print(f"{self.target:28} {self.cpu_seconds():5.0f} of {self.seconds} s {now.get('runs', '?'):>11} runs"
                  f" {now.get('exec/s', '?'):>6}/s  cov {now.get('cov', '?')}  features {now.get('ft', '?')}"
                  f"  corpus {now.get('corp', '?')}", file=sys.stderr, flush=True)

    def verdict(self):
        if self.code == 0:
            return "PASS"
        if self.stopped:
            return "STOPPED"
        found = [f for f in (self.folder / "crashes").iterdir() if f.stat().st_mtime >= time.time() - self.wall - 5]
        newest = max(found, key=lambda f: f.stat().st_mtime, default=None)
        return f"FAIL {newest.name}" if newest else f"FAIL exit {self.code}"

    def keep_log(self):
        """Of a finding, beside the log that the next run overwrites."""
        kind, _, name = self.verdict().partition(" ")
        if kind == "FAIL":
            self.log = shutil.copy(self.log, self.folder / f"{name.replace(' ', '-')}.log")

    def result(self, commit):
        last = self.last_status()
        runs = last.get("stat::number_of_executed_units", last.get("runs", "0"))
        return [self.target, commit, f"{self.wall:.0f}", f"{self.usage.ru_utime + self.usage.ru_stime:.1f}", runs,
                last.get("cov", "0"), last.get("ft", "0"), last.get("corp", "0"), self.verdict(), self.sources,
                datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")]


def append(results, row):
    new = not results.exists()
    with open(results, "a") as file:
        if new:
            file.write("\t".join(COLUMNS) + "\n")
        file.write("\t".join(row) + "\n")


def print_table(rows):
    widths = [max(len(row[i]) for row in [COLUMNS] + rows) for i in range(COLUMNS.index("sources"))]
    for row in [COLUMNS] + rows:
        cells = [row[i].ljust(w) if i in (0, 1, 8) else row[i].rjust(w) for i, w in enumerate(widths)]
        print("  ".join(cells).rstrip())


def run_all(waiting, options):
    running, finished, rows = [], [], []
    stop = []

    def on_signal(number, _):
        stop.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    show = len(waiting) == 1
    try:
        while (waiting and not stop) or running:
            while waiting and not stop and len(running) < options.jobs:
                run = waiting.pop(0)
                run.start(show)
                running.append(run)
            time.sleep(0.2)
            if stop and not any(run.stopped for run in running):
                print("dev: stopping the fuzzers", file=sys.stderr)
                give_up = time.monotonic() + PATIENCE_SECONDS
                for run in running:
                    run.tell(signal.SIGINT)
            for run in list(running):
                over = run.over()
                run.progress()
                if over:
                    running.remove(run)
                    finished.append(run)
                    rows.append(run.result(options.commit))
                    append(options.results, rows[-1])
                    run.keep_log()
                    print(f"{run.target}: {run.verdict()} after {run.wall:.0f} s", file=sys.stderr)
                elif (stop and (time.monotonic() > give_up or len(stop) > 1)) or run.late():
                    run.tell(signal.SIGKILL)
    finally:
        for run in running:
            run.tell(signal.SIGKILL)
    print()
    print_table(rows)
    print(f"appended to {options.results}")
    for run in finished:
        if run.verdict().startswith("FAIL"):
            print(f"{run.target}: log {run.log}, inputs in {run.folder / 'crashes'}; docs/FUZZING.md says what to do with one")
    if stop:
        return 128 + stop[0]
    return 0 if rows and all(row[8] == "PASS" for row in rows) else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="bazel-bin of the fuzzers' build")
    parser.add_argument("--corpora", type=pathlib.Path, required=True, help="bazel query --output=build")
    parser.add_argument("--graph", type=pathlib.Path, required=True, help="bazel query --output=graph")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="where each target has its folder")
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--time", type=int, required=True, help="seconds of processor time for each")
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--flags", action="append", default=[], help="for libFuzzer")
    parser.add_argument("labels", nargs="+")
    options = parser.parse_args()

    seeds = corpora(options.corpora.read_text())
    sources = digests(options.root, options.graph.read_text(), options.labels)
    runs = []
    for label in options.labels:
        package, name = label.lstrip("/").split(":")
        folder = options.folder / name
        copy_seeds(options.root, seeds[name], folder / "seeds")
        dictionary = options.bin / package / f"{name}_merged.dict"
        runs.append(Run(name, sources[label], options.bin / package / name, dictionary if dictionary.exists() else None,
                        folder, options))
        print(f"{name}: {len(list((folder / 'seeds').iterdir()))} seeds, {len(list((folder / 'work').iterdir()))} found before",
              file=sys.stderr)
    sys.exit(run_all(runs, options))


if __name__ == "__main__":
    main()
