# SPDX-License-Identifier: Apache-2.0
"""Changes the sources one small step at a time, and sees whether a test notices; for ./dev mutate.

A mutant is caught if a test of its folder fails, crashes or does not end; one that does not compile is
not counted. Survivors have a reason in tools/dev/mutation_reasons.txt (the change means nothing, say), or
are a gap in the tests.
"""

import argparse
import collections
import contextlib
import ctypes
import datetime
import json
import os
import pathlib
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from xml.etree import ElementTree

import mutants
import weave
from planted import Tree, cell, flags

TEST_SECONDS = 120
BASELINE_SECONDS = 120  # a test that takes longer is not asked, and the record says so
# Folders whose code is also tested by others: asked only where the folder's own tests do not notice.
BESIDE = {
    "boundary": ["//ring/..."],
    "handshake": ["//channel/...", "//tests/spec:spec_test"],
    "media": ["//examples/film:pixel_format_libav_test"],
    # What both sides have alike, and other implementations must: numbers and offsets.
    "ring": ["//tests/spec:spec_test"],
    "os": ["//boundary/...", "//sealing/..."],
    "sealing": ["//shm/..."],
    "shm": ["//handshake/..."],
    "wait": ["//channel/...", "//tests/spec:spec_test"],
}
# Runs where nothing but its own page is mapped, so that no number could choose there.
ALONE = {"sandbox/namespace_holder.cc", "sandbox/nobody_program.cc", "sealing/seal_helper.cc"}
# A table that is a constant expression is made when the program starts, for its woven mutants to be there.
AT_START = {"media/pixel_format.cc": [
    ("constexpr Row kRows", "const Row kRows"),
    ("constexpr std::array<PixelFormatInfo, kCount> kTable", "const std::array<PixelFormatInfo, kCount> kTable"),
    ("constexpr std::array<PixelFormatInfo, kCount> MakeTable", "std::array<PixelFormatInfo, kCount> MakeTable"),
    ("constexpr bool NumbersAreInOrder", "[[maybe_unused]] bool NumbersAreInOrder"),
    ("static_assert(NumbersAreInOrder());", ""),
]}
WANTED = {"sandbox": 90, "media": 90}
WANTED_ELSEWHERE = 95
SAMPLE = {"sandbox": 40, "media": 40, "supervise": 40}

# A test's time is up when it has had this much more than without a mutant, of a processor that it need
# not share: what others took of it is added, up to LATE_TIMES of the limit.
LIMIT_TIMES, LIMIT_SECONDS, LATE_TIMES = 4, 20, 3

Result = collections.namedtuple("Result", "mutant verdict by alone", defaults=[False])


def read_reasons(path):
    """key -> reason."""
    reasons = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line and not line.startswith("#"):
            key, _, reason = line.rpartition(" => ")
            reasons[key] = reason
    return reasons


class Runner:
    """One mutant in the sources at a time: what cannot be woven, and what survived as a woven one."""

    def __init__(self, tree, without):
        self.tree, self.without = tree, without

    def failed(self, labels):
        """(built, what failed first)"""
        result = self.tree.bazel(
            "bazel-gcc", "test", *flags(""), "--build_tests_only", "--test_output=errors", "--keep_going",
            f"--test_timeout={TEST_SECONDS}", "--noshow_progress", *labels,
        )
        rows = re.findall(r"^(//\S+) +(?:\(cached\) )?([A-Z][A-Z ]+?)(?: in |$)", result.stdout, re.M)
        bad = [(label, status) for label, status in rows if status not in ("PASSED", "FLAKY")]
        unbuilt = [label for label, status in bad if "BUILD" in status]
        ran = [(label, status) for label, status in bad if "BUILD" not in status and "STATUS" not in status]
        if ran:
            cases = re.findall(r"^\[  FAILED  \] (\w+\.\w+)", result.stdout, re.M)
            label, status = ran[0]
            return True, (cases[0] if cases else label) + (" (never ends)" if status == "TIMEOUT" else "")
        return result.returncode == 0 and not unbuilt, ""

    def builds(self, labels):
        return self.tree.bazel("bazel-gcc", "build", *flags(""), "--noshow_progress", *labels).returncode == 0

    @contextlib.contextmanager
    def changed(self, mutant):
        file = self.tree.root / mutant.path
        text = file.read_text(encoding="utf-8")
        lines = text.split("\n")
        lines[mutant.number - 1] = mutant.after
        file.write_text("\n".join(lines), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(text, encoding="utf-8")


def stalled_seconds():
    """How long, of all time, some process of this machine has waited for a processor."""
    try:
        some = pathlib.Path("/proc/pressure/cpu").read_text(encoding="ascii").splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, IndexError, ValueError):  # a kernel that does not count it: the clock alone
        return 0.0


def limit_of(test):
    return LIMIT_TIMES * test.seconds + LIMIT_SECONDS


class Test:
    """A test program that was built, and what of it cannot be used: cases that fail without a mutant."""

    def __init__(self, label, environment, words, bin_folder):
        self.label, self.environment, self.words = label, environment, words
        package, _, name = label[2:].partition(":")
        self.name = name
        self.program = bin_folder / package / name
        self.left_out = []
        self.seconds = 0.0
        self.usable = True


class Tests:
    """Runs the programs themselves: a mutant is chosen in them, nothing is built or linked anew."""

    def __init__(self, tree, folder):
        self.tree, self.folder = tree, folder
        self.work = tree.work / "run"
        self.work.mkdir(exist_ok=True)

    def load(self, labels):
        """The tests of `labels`, as they are to be asked: cheap ones first."""
        text = self.tree.bazel("bazel-gcc", "query", "--noshow_progress", "--output=xml", f"tests(set({' '.join(labels)}))").stdout
        root = ElementTree.fromstring(text[text.index("<?xml"):text.rindex("</query>") + len("</query>")])
        bin_folder = self.tree.info("bazel-gcc", flags(""), "bazel-bin")
        tests = []
        for rule in root.iter("rule"):
            pairs = rule.findall("dict[@name='env']/pair")
            environment = {p[0].get("value"): p[1].get("value") for p in pairs}
            tags = [s.get("value") for s in rule.findall("list[@name='tags']/string")]
            words = [s.get("value") for s in rule.findall("list[@name='args']/string")]
            test = Test(rule.get("name"), environment, words, bin_folder)
            # Their sources are asked once: a variant would only find more.
            variant = test.name.endswith(("_cloned", "_without_namespaces"))
            if test.program.exists() and "manual" not in tags and not variant:
                tests.append(test)
        return tests

    def run(self, test, case="", seconds=TEST_SECONDS):
        """None if it passed, else the case that failed ("" if nobody says), and whether it never ended."""
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.work), "USER": os.environ.get("USER", "root"),
            "TEST_SRCDIR": f"{test.program}.runfiles", "RUNFILES_DIR": f"{test.program}.runfiles", "TEST_WORKSPACE": "parley",
            "TEST_TMPDIR": tempfile.mkdtemp(prefix="t", dir=self.work), **test.environment,
        }
        words = [str(test.program), "--gtest_color=no", "--gtest_fail_fast", *test.words]
        own = [w.partition("=")[2] for w in test.words if w.startswith("--gtest_filter=")]
        chosen = (case or (own + ["*"])[0]) + ("-" + ":".join(test.left_out) if test.left_out else "")
        if chosen != "*":
            words.append("--gtest_filter=" + chosen)
        began = time.monotonic()
        be_subreaper(True)
        with tempfile.TemporaryFile(dir=self.work) as log:
            process = subprocess.Popen(
                words, cwd=f"{test.program}.runfiles/parley", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
            stalled = stalled_seconds()
            code = None
            while code is None:
                had = time.monotonic() - began - min(stalled_seconds() - stalled, (LATE_TIMES - 1) * seconds)
                if had >= seconds:
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(timeout=min(1.0, seconds - had))
            test.took = time.monotonic() - began
            self._end(process)
            be_subreaper(False)
            log.seek(0)
            text = log.read().decode("utf-8", "replace")
        shutil.rmtree(environment["TEST_TMPDIR"], ignore_errors=True)
        if code == 0:
            return None
        failed = re.findall(r"^\[  FAILED  \] ([\w/.]+)", text, re.M)
        begun = re.findall(r"^\[ RUN      \] ([\w/.]+)", text, re.M)
        return (failed or begun[-1:] or [""])[0], code is None

    def _end(self, process):
        """Whatever the test left behind is our child by now, and goes."""
        if process.poll() is None:
            process.kill()
            process.wait()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
            if not children:
                return
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
            # In any order: the first process of a namespace ends only after all others in it were reaped.
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0] != 0:
                    pass
            time.sleep(0.002)

    def baseline(self, tests):
        for test in tests:
            for _ in range(6):
                failure = self.run(test, seconds=BASELINE_SECONDS)
                test.seconds = max(test.seconds, test.took)
                if failure is None:
                    break
                case, endless = failure
                print(f"  {test.label}: {case or '?'} {'never ends' if endless else 'fails'} without a mutant: left out",
                      file=sys.stderr, flush=True)
                if not case or endless:  # or too slow to be asked again and again
                    test.usable = False
                    break
                test.left_out.append(case)
            else:
                test.usable = False
            print(f"  {test.label}: {test.seconds:.1f} s", file=sys.stderr, flush=True)
        return [test for test in tests if test.usable]

    def ask(self, selector, number, tests):
        """What noticed mutant `number`, twice; a case that fails without it or passes with it just then is left out,
        for this mutant: on a busy machine it is another case each time."""
        for test in tests:
            left_out = list(test.left_out)
            try:
                by = self.ask_one(selector, number, test)
            finally:
                test.left_out = left_out
            if by:
                return by
        return ""

    def ask_one(self, selector, number, test):
        while True:
            selector.choose(number)
            failure = self.run(test, seconds=limit_of(test))
            if failure is None:
                return ""
            case, endless = failure
            selector.choose(0)
            # The control: the same case, just now, without the mutant.
            if self.run(test, case, seconds=limit_of(test)) is None:
                selector.choose(number)
                if self.run(test, case, seconds=limit_of(test)) is not None:
                    return (case or test.label) + (" (never ends)" if endless else "")
            print(f"  {test.label}: {case} is not to be relied on now: left out", file=sys.stderr, flush=True)
            if not case:
                return ""
            test.left_out.append(case)


def nearest(mutant, tests, own):
    """The test of the same name first, then those of the folder, then the others; quick ones before slow ones."""
    stem = pathlib.PurePath(mutant.path).stem
    return sorted(tests, key=lambda t: (not t.name.startswith(stem), not t.label.startswith(own), t.seconds))


class Batch:
    """The chosen mutants: all in one build, then each that could not be put there by itself."""

    def __init__(self, root, by_folder, name, commit, seed, again):
        # What every row of the record says, so that no other run's is counted with them.
        self.name, self.commit, self.seed, self.again = name, commit, seed, again
        self.folders = list(by_folder)
        self.chosen = [(folder, mutant) for folder, those in by_folder.items() for mutant in those]
        self.texts = {m.path: (root / m.path).read_text(encoding="utf-8") for _, m in self.chosen}
        self.held = set()

    def labels(self, folder):
        return [f"//{folder}/..."] + BESIDE.get(folder, [])

    def write(self, root, left_out=None):
        """The sources with all mutants that they hold but for `left_out`, or as they were (None)."""
        self.held = set()
        for path, text in self.texts.items():
            numbered = [(n, m) for n, (_, m) in enumerate(self.chosen, 1) if m.path == path and path not in ALONE and n not in (left_out or ())]
            after, numbers = weave.weave(text, numbered)
            if left_out is None or not numbers:
                after, numbers = text, []
            for before, start in AT_START.get(path, []) if numbers else []:
                after = after.replace(before, start)
            self.held |= set(numbers)
            (root / path).write_text(after, encoding="utf-8")

    def prepare(self, tree):
        labels = sorted({label for folder in self.folders for label in self.labels(folder)})
        left_out = set()
        while True:
            self.write(tree.root, left_out)
            print(f"building with {len(self.held)} of {len(self.chosen)} mutants", file=sys.stderr, flush=True)
            result = tree.bazel("bazel-gcc", "build", *flags(""), "--build_tests_only", "--keep_going", "--noshow_progress", *labels)
            if result.returncode == 0:
                return
            places = {(path, int(line)) for path, line in re.findall(r"^(\S+?):(\d+):\d+: (?:error|fatal)", result.stdout, re.M)}
            files = {n: "/" + self.chosen[n - 1][1].path for n in self.held}
            lines = {n: self.chosen[n - 1][1].number for n in self.held}
            refused = {n for n in self.held for path, line in places if line == lines[n] and ("/" + path).endswith(files[n])}
            if not refused:
                refused = {n for n in self.held for path, _ in places if ("/" + path).endswith(files[n])}
            if not refused:
                (tree.work / "refused.log").write_text(result.stdout, encoding="utf-8")
                sys.exit("mutate: the sources do not build with their mutants, and nobody says which: see refused.log")
            left_out |= refused

    def ask(self, runner, folder, known, report):
        """The results of one folder's, but for those that are `known` (by key) from a run that was stopped."""
        tree = runner.tree
        tests = Tests(tree, folder)
        verdicts = {}
        numbers = [n for n, (f, _) in enumerate(self.chosen, 1) if f == folder]
        loaded = tests.load(self.labels(folder))
        usable = [t for t in loaded if t.label not in runner.without]
        selector = weave.Selector(tests_files(usable))
        selector.choose(0)
        usable = tests.baseline(usable)
        write_not_asked(report.record, self, folder, sorted({t.label for t in loaded} - {t.label for t in usable}))
        print(f"{folder}: {len(self.held & set(numbers))} of {len(numbers)} in the build, {len(usable)} tests, "
              f"{sum(t.seconds for t in usable):.0f} s; {len(selector.places)} places", file=sys.stderr, flush=True)
        for number in sorted(self.held & set(numbers)):
            mutant = self.chosen[number - 1][1]
            if mutant.key in known:
                verdicts[number] = known[mutant.key]
                continue
            by = tests.ask(selector, number, nearest(mutant, usable, f"//{folder}"))
            verdicts[number] = Result(mutant, "caught" if by else "survived", by)
            report(verdicts[number])
        selector.choose(0)
        return verdicts, numbers, tests, usable

    def ask_alone(self, runner, asked, known, report):
        """Of one folder, in the sources as they were: what was not in the build, and may be constant."""
        verdicts, numbers, tests, usable = asked
        for number in numbers:
            folder, mutant = self.chosen[number - 1]
            verdicts.setdefault(number, known.get(mutant.key))
            found = verdicts[number]
            if found and (found.alone or not (found.verdict == "survived" and self.may_be_constant(mutant))):
                continue
            verdicts[number] = self.alone(runner, folder, mutant, tests, usable)
            report(verdicts[number])
        return [verdicts[number] for number in numbers]

    def may_be_constant(self, mutant):
        """Whether a line stands in a constant expression, where a woven mutant is none: by its line and those around it."""
        if mutant.path in AT_START:
            return False
        lines = self.texts[mutant.path].split("\n")
        at, indent = mutant.number - 1, len(mutant.before) - len(mutant.before.lstrip()) + 1
        while at >= 0 and indent > 0:
            line = lines[at]
            here = len(line) - len(line.lstrip())
            if line.strip() and here < indent:
                indent = here
                if re.search(r"\bconst(expr|eval|init)\b|\benum\b|\bcase\b|\balignas\b|static_assert", line):
                    return True
            at -= 1
        return False

    def alone(self, runner, folder, mutant, tests, usable):
        with runner.changed(mutant):
            if not runner.builds(["--build_tests_only", *self.labels(folder)]):
                return Result(mutant, "not built", "", True)
            for test in nearest(mutant, usable, f"//{folder}"):
                left_out = list(test.left_out)
                while failure := tests.run(test, seconds=limit_of(test)):
                    # Once more: what depends on the machine's mood passes by then, and the other cases are asked.
                    if tests.run(test, failure[0], seconds=limit_of(test)) is not None:
                        by = (failure[0] or test.label) + (" (never ends)" if failure[1] else "")
                        test.left_out = left_out
                        return Result(mutant, "caught", by, True)
                    if not failure[0]:
                        break
                    test.left_out.append(failure[0])
                test.left_out = left_out
        return Result(mutant, "survived", "", True)


def be_subreaper(whether):
    """Processes whose parent ends become our children: not Bazel's server, so only while a test runs."""
    ctypes.CDLL(None).prctl(36, int(whether), 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def tests_files(tests):
    """Every program and library that the tests are made of or start."""
    files = set()
    for test in tests:
        files.add(test.program.resolve())
        for folder, _, names in os.walk(f"{test.program}.runfiles"):
            files |= {pathlib.Path(folder, name).resolve() for name in names}
    return sorted(f for f in files if f.is_file() and f.read_bytes()[:4] == b"\x7fELF")


def rate(results, reasons):
    """(caught, counted): what has a reason is not counted."""
    counted = [r for r in results if r.verdict != "not built" and
               not (r.verdict == "survived" and r.mutant.key in reasons)]
    return sum(r.verdict == "caught" for r in counted), len(counted)


def show(by_folder, reasons):
    failed = False
    for folder, results in by_folder.items():
        caught, counted = rate(results, reasons)
        wanted = WANTED.get(folder, WANTED_ELSEWHERE)
        good = counted == 0 or 100 * caught >= wanted * counted
        failed |= not good
        percent = f"{100 * caught / counted:.0f} %" if counted else "-"
        print(f"{'PASS' if good else 'FAIL'} {folder}: {caught} of {counted} caught, {percent} (wanted {wanted} %); "
              f"{sum(r.verdict == 'not built' for r in results)} do not compile, "
              f"{sum(r.verdict == 'survived' and r.mutant.key in reasons for r in results)} survive with a reason")
        for result in results:
            if result.verdict == "survived" and result.mutant.key not in reasons:
                print(f"     survived {result.mutant}")
                print(f"              {result.mutant.key}")
    return 1 if failed else 0


def begin_record(file, batch):
    """One row for each folder: what was chosen there, before anything is asked."""
    with file.open("a", encoding="utf-8") as f:
        for folder in batch.folders:
            keys = [m.key for of, m in batch.chosen if of == folder]
            f.write(json.dumps({"batch": batch.name, "folder": folder, "commit": batch.commit, "seed": batch.seed,
                                "again": batch.again, "chosen": keys}) + "\n")


def write_not_asked(file, batch, folder, labels):
    with file.open("a", encoding="utf-8") as f:
        f.write(json.dumps({"batch": batch.name, "folder": folder, "not_asked": labels}) + "\n")


def write_down(file, batch, result):
    m = result.mutant
    row = {"batch": batch.name, "key": m.key, "path": m.path, "number": m.number, "operator": m.operator,
           "before": m.before.strip(), "after": m.after.strip(), "verdict": result.verdict, "by": result.by, "alone": result.alone}
    with file.open("a", encoding="utf-8") as f:
        f.write(json.dumps(row) + "\n")


def rows_of(file):
    """(the rows that begin a batch, those of mutants). Rows of before there were batches are nobody's."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    return [r for r in rows if "chosen" in r], [r for r in rows if "key" in r and "batch" in r]


def tests_of(file):
    """(batch, folder) -> the tests that were not asked: too slow, left out by the user, or shaky."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    return {(r["batch"], r["folder"]): r["not_asked"] for r in rows if "not_asked" in r}


def result_of(row):
    mutant = mutants.Mutant(row["path"], row["number"], row["operator"], row["before"], row["after"], 0)
    mutant.key = row["key"]
    return Result(mutant, row["verdict"], row["by"], row["alone"])


class Run:
    """Of one folder and seed: its last run that asked anybody (`first`), and that with what was asked again since."""

    def __init__(self, begun, first, results, commits_again, not_asked):
        self.seed, self.commit, self.chosen = begun["seed"], begun["commit"], len(begun["chosen"])
        self.first, self.results, self.commits_again, self.not_asked = first, results, commits_again, not_asked


def read_back(file):
    """(folder, seed) -> Run."""
    begun, rows = rows_of(file)
    not_asked = tests_of(file)
    runs = {}
    for begin in begun:
        own = {r["key"]: r for r in rows if r["batch"] == begin["batch"] and r["key"] in begin["chosen"]}
        if begin["again"] or not own:
            continue
        first = list(own.values())
        commits = []
        for later in begun[begun.index(begin) + 1:]:
            if later["again"] and later["folder"] == begin["folder"]:
                again = {r["key"]: r for r in rows if r["batch"] == later["batch"] and r["key"] in own}
                own.update(again)
                commits += [later["commit"]] if again else []
        ordered = sorted(own.values(), key=lambda r: (r["path"], r["number"]))
        runs[begin["folder"], begin["seed"]] = Run(begin, [result_of(r) for r in first], [result_of(r) for r in ordered],
                                                   list(dict.fromkeys(commits)), not_asked.get((begin["batch"], begin["folder"]), []))
    return runs


def percent_of(results, reasons):
    caught, counted = rate(results, reasons)
    return f"{caught} of {counted}: {100 * caught / counted:.0f} %" if counted else "-"


def show_markdown(runs, reasons):
    print(f"""# Mutants

`./dev mutate` changes one line of the product at a time (another comparison, a constant, a condition, a statement,
guard or list element that is gone; `tools/dev/mutants.py`) and asks the tests of that folder, the nearest first. All
chosen ones of a folder are in one build (`tools/dev/weave.py`) and a number in the programs chooses one; what cannot be
put there, and what survives in a constant expression, is built alone. A case that fails counts if it fails twice, and
passes without the mutant in between; of those that are built alone, if it fails twice. A test is late after
{LIMIT_TIMES} times its own time and {LIMIT_SECONDS} s; what the machine had for others is added. A mutant that no test notices is a
gap, or changes nothing that can be seen; then its reason is here and it is not counted.

Written by `./dev mutate --render` on {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, after `./dev mutate --prepare FOLDER` and `./dev mutate --run`
of each folder at the commit that is named. "Fresh" is what the tests that were there noticed; what survived was asked
again (`--again`) once a test for it was there, which says that the test bites and no more.

| folder | commit | seed | chosen | asked | do not compile | fresh: caught of those counted | after tests for survivors | with a reason | wanted |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|""")
    for (folder, _), run in sorted(runs.items()):
        count = collections.Counter(r.verdict for r in run.results)
        excused = sum(r.verdict == "survived" and r.mutant.key in reasons for r in run.results)
        commits = ", then ".join([run.commit, *run.commits_again])
        print(f"| `{folder}` | {commits} | {run.seed} | {run.chosen} | {len(run.results)} | {count['not built']} | "
              f"{percent_of(run.first, reasons)} | {percent_of(run.results, reasons)} | {excused} | "
              f"{WANTED.get(folder, WANTED_ELSEWHERE)} % |")
    print()
    for (folder, seed), run in sorted(runs.items()):
        if run.not_asked:
            print(f"Not asked about `{folder}`, seed {seed}: {', '.join(f'`{label}`' for label in run.not_asked)}.")
    print("\n## Survivors\n\n| place | mutant | reason |\n|---|---|---|")
    for (_, seed), run in sorted(runs.items()):
        for r in run.results:
            if r.verdict == "survived":
                m = r.mutant
                print(f"| `{m.path}:{m.number}` (seed {seed}) | {m.operator}: `{cell(m.before.strip())}` | "
                      f"{cell(reasons.get(m.key, '**none: a gap**'))} |")


def main():
    arguments = argparse.ArgumentParser(prog="./dev mutate", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--root", "--work"):
        arguments.add_argument(name, required=True, type=pathlib.Path, help=argparse.SUPPRESS)
    for name in ("--user-root", "--commit"):
        arguments.add_argument(name, required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--sample", type=int, metavar="N", help="mutants of each folder; 0: all (40 of sandbox, media and supervise, 25 of others)")
    arguments.add_argument("--seed", default="1", help="which ones; the same seed, the same mutants")
    arguments.add_argument("--without", action="append", default=[], metavar="TEST", help="does not ask //PACKAGE:TEST, a slow one say")
    arguments.add_argument("--list", action="store_true", help="only shows them")
    arguments.add_argument("--prepare", action="store_true", help="builds and no more: most of the processor time")
    arguments.add_argument("--run", action="store_true", help="asks the tests of what --prepare has built; after a stop, the rest of it")
    arguments.add_argument("--again", action="store_true", help="those that survived without a reason when they were last asked")
    arguments.add_argument("--render", action="store_true", help="asks nobody: the page docs/runs/mutation.md from all runs")
    arguments.add_argument("folders", nargs="*", help="default: every folder of the product")
    options = arguments.parse_args()
    reasons = read_reasons(options.root / "tools" / "dev" / "mutation_reasons.txt")
    record = options.work / "results.jsonl"
    if options.render:
        show_markdown(read_back(record), reasons)
        return 0
    again = {r.mutant.key for run in read_back(record).values() for r in run.results
             if r.verdict == "survived" and r.mutant.key not in reasons}

    tree = Tree(options)
    sys.path.insert(0, str(options.root / "tools" / "lint"))
    import layers

    by_folder = {}
    if options.run:
        batch = pickle.loads((options.work / "prepared.pickle").read_bytes())
        by_folder = {folder: [] for folder in options.folders or batch.folders}
    for folder in [] if options.run else options.folders or sorted(layers.HEIGHT):
        base = tree.root / folder
        if not base.is_dir():
            if options.folders:
                sys.exit(f"mutate: there is no folder {folder}")
            continue
        all_of_it = []
        for path in sorted(base.rglob("*")):
            name = str(path.relative_to(tree.root))
            if mutants.is_product(name):
                all_of_it += mutants.mutants_of(name, path.read_text(encoding="utf-8"))
        by_folder[folder] = [m for m in all_of_it if m.key in again] if options.again else \
            mutants.sample(all_of_it, SAMPLE.get(folder, 25) if options.sample is None else options.sample, options.seed)
        if options.again and not by_folder[folder]:
            del by_folder[folder]
            continue
        print(f"{folder}: {len(all_of_it)} mutants, {len(by_folder[folder])} chosen", file=sys.stderr)
    if options.list:
        for chosen in by_folder.values():
            print("\n".join(map(str, chosen)))
        return 0

    began = time.monotonic()
    runner = Runner(tree, options.without)
    kept = options.work / "prepared.pickle"
    if not options.run:
        name = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M:%S}"
        batch = Batch(tree.root, by_folder, name, options.commit, options.seed, options.again)
        batch.prepare(tree)
        kept.write_bytes(pickle.dumps(batch))
        begin_record(record, batch)
    if options.prepare:
        return 0

    def report(result):
        write_down(record, batch, result)
        print(f"[{time.monotonic() - began:.0f} s] {result.verdict}{': ' + result.by if result.by else ''}  {result.mutant}",
              file=sys.stderr, flush=True)

    report.record = record
    known = {r["key"]: result_of(r) for r in rows_of(record)[1] if r["batch"] == batch.name}
    asked = {}
    for folder in by_folder:
        asked[folder] = batch.ask(runner, folder, known, report)
    batch.write(tree.root)
    for folder in by_folder:
        by_folder[folder] = batch.ask_alone(runner, asked[folder], known, report)
    return show(by_folder, reasons)


if __name__ == "__main__":
    sys.exit(main())
