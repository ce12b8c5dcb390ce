# SPDX-License-Identifier: Apache-2.0
"""Plants bugs in a copy of the tree, one at a time, and sees who catches each; for ./dev planted.

tools/dev/planted.sh says what the first lines of a patch mean. First everything that is to catch a
bug runs without one, and must pass: who fails always catches nothing.
"""

import argparse
import datetime
import os
import pathlib
import re
import subprocess
import sys
import time

MEANS = ("Target", "Test", "Case", "Sanitizer", "Build", "Model")
COLUMNS = ("seed", "fuzzing", "test", "villain", "sanitizer", "compiler", "model")
TITLES = ("a seed", "fuzzing from nothing", "a test", "the villain", "a sanitizer", "the compiler", "the model")
TEST_SECONDS = 120
INPUT_SECONDS = 10

_SANITIZER = re.compile(r"(?:ERROR|WARNING): (\w+Sanitizer): ([\w -]+)")
_SHORT = {"AddressSanitizer": "asan", "LeakSanitizer": "leak", "ThreadSanitizer": "tsan"}


class Patch:
    def __init__(self, path):
        self.path = path
        self.name = path.stem
        self.bug = ""
        self.means = {mean: [] for mean in MEANS}
        self.caught = {column: [] for column in COLUMNS}
        self.missed = []
        text = path.read_text(encoding="utf-8")
        for line in text.split("\n\n", 1)[0].splitlines():
            key, _, value = line.partition(": ")
            if key == "Bug":
                self.bug = value
            elif key in self.means:
                self.means[key].append(value)
            else:
                sys.exit(f"planted: {path.name}: what is '{line}'?")
        if not self.bug or not any(self.means.values()):
            sys.exit(f"planted: {path.name} wants a line 'Bug:' and one of {', '.join(MEANS)}")
        self.packages = sorted({os.path.dirname(f) for f in re.findall(r"^\+\+\+ b/(\S+)", text, re.M)})

    def catch(self, column, what):
        if what not in self.caught[column]:
            self.caught[column].append(what)

    def say(self, what):
        print(f"  {self.name}: {what}", file=sys.stderr, flush=True)


class Tree:
    """The copy, and Bazel in it: an output base for each compiler."""

    def __init__(self, options):
        self.root = options.work / "tree"
        self.work = options.work
        self.user_root = options.user_root

    def plant(self, patch, back=False):
        subprocess.run(
            ["patch", "-s", "-p1", "-F0", "--no-backup-if-mismatch", *(["-R"] if back else []), "-i", str(patch.path)],
            cwd=self.root,
            check=True,
        )

    def bazel(self, base, *words):
        command = ["bazel", f"--output_user_root={self.user_root}", f"--output_base={self.work / base}"]
        command += ["--max_idle_secs=900", *words]
        return subprocess.run(
            command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )

    def info(self, base, config, key):
        words = self.bazel(base, "info", *config, key).stdout.split()
        return pathlib.Path(words[-1])


def base_of(config):
    return "bazel-clang" if any("asan" in c or "tsan" in c or "fuzz" in c for c in config) else "bazel-gcc"


# A planted bug may leave a variable unused.
def flags(config):
    return ([f"--config={config}"] if config else []) + ["--define=parley_werror=0"]


def report_of(log):
    """What a sanitizer says in a log, or None."""
    match = _SANITIZER.search(log)
    if match:
        kind = _SHORT.get(match.group(1), match.group(1))
        return f"{kind}: {match.group(2).strip().split(' on ')[0]}" if kind != "leak" else "leak"
    match = re.search(r"runtime error: (.+)", log)
    return f"ubsan: {match.group(1)[:60]}" if match else None


class Fuzzing:
    config = flags("fuzz")
    base = "bazel-clang"

    def __init__(self, tree, options):
        self.tree, self.options = tree, options

    def program(self, target):
        built = self.tree.bazel(self.base, "build", *self.config, f"//fuzz:{target}")
        if built.returncode != 0:
            return None, built.stdout
        return self.tree.info(self.base, self.config, "bazel-bin") / "fuzz" / target, ""

    def run(self, program, *words):
        environment = dict(
            os.environ,
            ASAN_SYMBOLIZER_PATH="/usr/bin/llvm-symbolizer-19",
            UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1",
        )
        result = subprocess.run(
            [str(program), f"-timeout={INPUT_SECONDS}", "-rss_limit_mb=2048", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env=environment, cwd=self.tree.work,
        )
        return result.returncode, result.stdout

    def seeds(self, program, target):
        """(which seed or None, log)"""
        corpus = sorted(str(f) for f in (self.tree.root / "fuzz" / "corpus" / target).rglob("*") if f.is_file())
        code, log = self.run(program, *corpus)
        if code == 0:
            return None, log
        begun = re.findall(r"^Running: (\S+)", log, re.M)
        return os.path.basename(begun[-1]) if begun else "?", log

    def nothing(self, program, target, name):
        """(seconds or None, log)"""
        words = [f"-max_total_time={self.options.time}", f"-exact_artifact_path={self.tree.work / 'found' / name}"]
        dictionary = self.tree.root / "fuzz" / f"{target}.dict"
        if dictionary.exists():
            words.append(f"-dict={dictionary}")
        began = time.monotonic()
        code, log = self.run(program, *words)
        return (None if code == 0 else round(time.monotonic() - began)), log

    def baseline(self, patches):
        failed = []
        for target in sorted({t for p in patches for t in p.means["Target"]}):
            program, log = self.program(target)
            if program is None:
                sys.exit(f"planted: //fuzz:{target} does not build:\n{log[-3000:]}")
            seed, log = self.seeds(program, target)
            print(f"  {target}: {'FAILS by itself: ' + seed if seed else 'passes'}", file=sys.stderr, flush=True)
            if seed:
                failed.append(target)
        return failed

    def catch(self, patch):
        for target in patch.means["Target"]:
            program, log = self.program(target)
            if program is None:
                patch.missed.append(f"//fuzz:{target} does not build")
                patch.say(log[-2000:])
                continue
            seed, log = self.seeds(program, target)
            said = report_of(log) if seed else None
            if seed:
                patch.catch("seed", f"{target}: {seed}")
            seconds = None
            if not self.options.quick or not seed:
                seconds, log = self.nothing(program, target, patch.name)
                if seconds is not None:
                    patch.catch("fuzzing", f"{target}: {seconds} s")
                    said = said or report_of(log)
            if said:
                patch.catch("sanitizer", said)
            if not seed and seconds is None:
                patch.missed.append(target)
            patch.say(f"{target}: seed {seed or '-'}, from nothing {'-' if seconds is None else f'{seconds} s'}")


class Testing:
    """Tests in one configuration; `config` empty: g++."""

    def __init__(self, tree, options, config):
        self.tree, self.options = tree, options
        self.config = config
        self.flags = flags(config)
        self.base = base_of(self.flags)
        self.mean = "Sanitizer" if config else "Test"

    def must(self, patch):
        if self.config:
            return [m.split()[1] for m in patch.means["Sanitizer"] if m.split()[0] == self.config]
        return patch.means["Test"]

    def wanted(self, patch):
        must = self.must(patch)
        if self.config or self.options.quick:
            return must
        return must + [f"//{package}:all" for package in patch.packages]

    def run(self, labels):
        """label -> status for each test that did not pass; and the whole log."""
        result = self.tree.bazel(
            self.base, "test", *self.flags, "--keep_going", "--build_tests_only", "--test_output=errors",
            f"--test_timeout={TEST_SECONDS}", *labels,
        )
        rows = re.findall(r"^(//\S+) +(?:\(cached\) )?([A-Z][A-Z ]+?)(?: in |$)", result.stdout, re.M)
        return {label: status for label, status in rows if status != "PASSED"}, result.stdout

    def first_case(self, label):
        """The case that failed first, or in which the test was when it ended."""
        logs = self.tree.info(self.base, self.flags, "bazel-testlogs")
        file = logs / label[2:].replace(":", "/") / "test.log"
        log = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        cases = re.findall(r"^\[  FAILED  \] (\S+?)(?:,| |$)", log, re.M) or re.findall(r"^\[ RUN      \] (\S+)", log, re.M)[-1:]
        return (cases[0] if cases else ""), log

    def baseline(self, patches):
        labels = sorted({label for p in patches for label in self.wanted(p)})
        if not labels:
            return []
        bad, log = self.run(labels)
        for label, status in bad.items():
            print(f"  {label}: {status} by itself", file=sys.stderr, flush=True)
        if not bad:
            print(f"  {' '.join(labels)}: pass", file=sys.stderr, flush=True)
        if "Build did NOT complete" in log or "no such" in log:
            sys.exit(f"planted: the tests do not build:\n{log[-3000:]}")
        return list(bad)

    def catch(self, patch):
        labels = self.wanted(patch)
        if not labels:
            return
        bad, log = self.run(labels)
        for label, status in bad.items():
            if "BUILD" in status or "STATUS" in status:
                patch.missed.append(f"{label} does not build")
                patch.say(log[-2000:])
                continue
            case, test_log = self.first_case(label)
            how = case or label.split(":")[1]
            if status == "TIMEOUT":
                how += " (never ends)"
            if self.config:
                patch.catch("sanitizer", report_of(test_log) or f"{self.config}: {how}")
            else:
                patch.catch("test", how)
        for label in self.must(patch):
            if label not in bad:
                patch.missed.append(f"{self.config} {label}".strip())
        patch.say(f"{self.config or 'tests'}: {', '.join(bad) if bad else '-'}")


class Attacking:
    """The villain against our own ends: a case that must be without effect, and is not."""

    def __init__(self, tree, options):
        self.tree = tree

    def run(self, case):
        """(built, verdict of the case)"""
        built = self.tree.bazel("bazel-gcc", "build", *flags(""), "//villain:villain")
        if built.returncode != 0:
            return False, built.stdout[-2000:]
        program = self.tree.info("bazel-gcc", flags(""), "bazel-bin") / "villain" / "villain"
        result = subprocess.run(
            [str(program), "run", case], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", cwd=self.tree.work,
        )
        verdicts = re.findall(rf"^.*{re.escape(case)} .*?\b(PASS|FAIL|WEDGED|SKIP)\b", result.stdout, re.M)
        return True, verdicts[0] if verdicts else "?"

    def baseline(self, patches):
        bad = []
        for case in sorted({case for p in patches for case in p.means["Case"]}):
            built, verdict = self.run(case)
            print(f"  {case}: {verdict} by itself", file=sys.stderr, flush=True)
            if not built or verdict not in ("PASS", "SKIP"):
                bad.append(case)
        return bad

    def catch(self, patch):
        for case in patch.means["Case"]:
            built, verdict = self.run(case)
            if built and verdict in ("FAIL", "WEDGED"):
                patch.catch("villain", case)
            else:
                patch.missed.append(f"villain run {case} ({verdict})")
            patch.say(f"villain run {case}: {verdict}")


class Compiling:
    def __init__(self, tree, options):
        self.tree = tree

    def baseline(self, patches):
        for label in sorted({m.split()[0] for p in patches for m in p.means["Build"]}):
            if self.tree.bazel("bazel-gcc", "build", *flags(""), label).returncode != 0:
                sys.exit(f"planted: {label} does not build by itself")
        return []

    def catch(self, patch):
        for mean in patch.means["Build"]:
            label, _, text = mean.partition(" ")
            result = self.tree.bazel("bazel-gcc", "build", *flags(""), label)
            if result.returncode != 0 and text and text in result.stdout:
                patch.catch("compiler", f"{label}: {text}")
            else:
                patch.missed.append(f"build of {label}")
            patch.say(f"compiler: {'refuses ' + label if patch.caught['compiler'] else '-'}")


class Modelling:
    """The model is not made from the code: its own bug of the same name must be found in it."""

    def __init__(self, tree, options):
        self.root = options.root

    def baseline(self, patches):
        return []

    def catch(self, patch):
        for mean in patch.means["Model"]:
            result = subprocess.run(
                [str(self.root / "dev"), "verify", *mean.split()],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )
            found = [row.split() for row in result.stdout.splitlines() if row.endswith("PASS")]
            found = [row[-4] for row in found if "holds" not in row]
            if result.returncode == 0 and found:
                patch.catch("model", f"`{mean}`: {', '.join(dict.fromkeys(found))}")
            else:
                patch.missed.append(f"model {mean}")
            patch.say(f"model {mean}: {', '.join(found) or '-'}")


def show(patches):
    for patch in patches:
        what = [f"{title}: {', '.join(patch.caught[c])}" for c, title in zip(COLUMNS, TITLES) if patch.caught[c]]
        print(f"{'FAIL' if patch.missed else 'PASS'} {patch.name}: {patch.bug}")
        for line in what:
            print(f"       {line}")
        for line in patch.missed:
            print(f"       NOT caught by {line}")
    caught = sum(1 for p in patches if not p.missed)
    print(f"{caught} of {len(patches)} planted bugs are caught")


def cell(text):
    return text.replace("|", "\\|")


QUICK = """This run was a quick one: it asked those who must catch a bug, in turn, and whoever else might only as far as that.
So `-` means in most cells that nobody was asked.

"""


def show_markdown(patches, options, began):
    hours = (time.monotonic() - began) / 60
    print(
        f"""# Planted bugs

Each row is a patch in `fuzz/planted/`: one bug, of a kind that is easy to make. `./dev planted` plants it in a copy of the tree
and sees who catches it; whoever the patch names must. `./dev lint` holds that each patch still applies.

* **a seed**: a file of the target's corpus, so that `./dev test` finds it. **Fuzzing from nothing**: the same target with no
  corpus, for {options.time} s at most; `-` says that this was not long enough, or that the bug is not one for a fuzzer.
* **a test**: the first case that fails in each test of the packages that the patch touches, with g++; with "never ends", the test
  was ended after {TEST_SECONDS} s.
* **the villain**: the case of `villain run` that is no longer without effect.
* **a sanitizer**: what it says, in the fuzz target or in a test that runs under it.
* **the model**: the same bug in `verify/sleep_wake.pml`, which is written by hand, and how spin finds it.

{QUICK if options.quick else ""}Rendered by `./dev planted{" --quick" if options.quick else ""} --markdown` on {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, commit {options.commit}, in {hours:.0f} minutes.
**{sum(1 for p in patches if not p.missed)} of {len(patches)} are caught.**

| bug | {' | '.join(TITLES)} |
|---|{'---|' * len(TITLES)}"""
    )
    for patch in patches:
        cells = [cell("<br>".join(patch.caught[c])) or "-" for c in COLUMNS]
        missed = f"<br>**NOT caught by {', '.join(patch.missed)}**" if patch.missed else ""
        print(f"| `{patch.name}`: {cell(patch.bug)}{missed} | {' | '.join(cells)} |")


def main():
    arguments = argparse.ArgumentParser(prog="./dev planted")
    for name in ("--root", "--work"):
        arguments.add_argument(name, required=True, type=pathlib.Path, help=argparse.SUPPRESS)
    for name in ("--user-root", "--commit"):
        arguments.add_argument(name, required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--quick", action="store_true", help="only until somebody who must catches it")
    arguments.add_argument("--time", type=int, default=60, help="seconds of fuzzing from nothing, at most")
    arguments.add_argument("--markdown", action="store_true", help="the page docs/PLANTED.md")
    arguments.add_argument("patches", nargs="*", metavar="PATCH", help="names; otherwise all")
    options = arguments.parse_args()

    folder = options.root / "fuzz" / "planted"
    paths = [folder / (os.path.basename(name).removesuffix(".patch") + ".patch") for name in options.patches]
    for path in paths:
        if not path.exists():
            sys.exit(f"planted: there is no {path.name}")
    patches = [Patch(path) for path in paths or sorted(folder.glob("*.patch"))]

    began = time.monotonic()
    tree = Tree(options)
    phases = [
        ("fuzz targets", Fuzzing(tree, options), lambda p: p.means["Target"]),
        ("tests, g++", Testing(tree, options, ""), None),
        ("the villain", Attacking(tree, options), lambda p: p.means["Case"]),
        ("the compiler", Compiling(tree, options), lambda p: p.means["Build"]),
    ]
    for config in sorted({m.split()[0] for p in patches for m in p.means["Sanitizer"]}):
        phases.append((f"tests, {config}", Testing(tree, options, config), None))
    phases.append(("the model", Modelling(tree, options), lambda p: p.means["Model"]))
    for title, phase, wanted in phases:
        wanted = wanted or phase.wanted
        todo = [p for p in patches if wanted(p)]
        if not todo:
            continue
        print(f"=== {title}: {len(todo)} bugs; first without one", file=sys.stderr, flush=True)
        if phase.baseline(todo):
            sys.exit("planted: what fails without a bug catches none")
        for number, patch in enumerate(todo, 1):
            print(f"[{number}/{len(todo)}, {time.monotonic() - began:.0f} s]", end="", file=sys.stderr, flush=True)
            tree.plant(patch)
            try:
                phase.catch(patch)
            finally:
                tree.plant(patch, back=True)

    if options.markdown:
        show_markdown(patches, options, began)
    else:
        show(patches)
    return 1 if any(p.missed for p in patches) else 0


if __name__ == "__main__":
    sys.exit(main())
