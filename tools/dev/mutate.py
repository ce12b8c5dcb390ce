"""Changes the sources one small step at a time, and sees whether a test notices; for ./dev mutate.

A mutant is caught if a test of its folder fails, crashes or does not end; one that does not compile is
not counted. Survivors have a reason in tools/dev/mutation_reasons.txt (the change means nothing, say), or
are a gap in the tests.
"""

import argparse
import collections
import datetime
import os
import pathlib
import re
import sys
import time

import mutants
from planted import Tree, cell, flags

TEST_SECONDS = 120
# Folders whose code is also tested by others: asked only where the folder's own tests do not notice.
BESIDE = {
    "boundary": ["//ring/..."],
    "handshake": ["//channel/..."],
    "media": ["//fuzz:media_stream_fuzzer", "//fuzz:pcm_fuzzer"],
    "os": ["//boundary/...", "//sealing/..."],
    "sealing": ["//shm/..."],
    "shm": ["//handshake/..."],
    "wait": ["//channel/..."],
}
WANTED = {"sandbox": 90, "media": 90}
WANTED_ELSEWHERE = 95

Result = collections.namedtuple("Result", "mutant verdict by")


def read_reasons(path):
    """key -> reason."""
    reasons = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line and not line.startswith("#"):
            key, _, reason = line.rpartition(" => ")
            reasons[key] = reason
    return reasons


class Runner:
    def __init__(self, tree):
        self.tree = tree

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

    def ask(self, mutant, folder):
        file = self.tree.root / mutant.path
        text = file.read_text(encoding="utf-8")
        lines = text.split("\n")
        lines[mutant.number - 1] = mutant.after
        file.write_text("\n".join(lines), encoding="utf-8")
        try:
            for labels in ([f"//{folder}/..."], BESIDE.get(folder)):
                if labels is None:
                    break
                built, by = self.failed(labels)
                if not built:
                    return Result(mutant, "not built", "")
                if by:
                    return Result(mutant, "caught", by)
            return Result(mutant, "survived", "")
        finally:
            file.write_text(text, encoding="utf-8")


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


def show_markdown(by_folder, reasons, options, began):
    print(f"""# Mutants

`./dev mutate` changes one line of the product at a time (another comparison, a constant, a condition, a statement,
guard or list element that is gone; `tools/dev/mutants.py`) and runs the tests of that folder. A mutant that no test
notices is a gap, or changes nothing that can be seen; then its reason is here and it is not counted.

Written by `./dev mutate --markdown {' '.join(options.words)}` on {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, commit {options.commit}, in {(time.monotonic() - began) / 60:.0f} minutes.

| folder | mutants | do not compile | caught | survived | with a reason | caught of those counted | wanted |
|---|--:|--:|--:|--:|--:|--:|--:|""")
    for folder, results in by_folder.items():
        caught, counted = rate(results, reasons)
        count = collections.Counter(r.verdict for r in results)
        excused = sum(r.verdict == "survived" and r.mutant.key in reasons for r in results)
        print(f"| `{folder}` | {len(results)} | {count['not built']} | {count['caught']} | {count['survived']} | {excused} | "
              f"{f'{100 * caught / counted:.0f} %' if counted else '-'} | {WANTED.get(folder, WANTED_ELSEWHERE)} % |")
    print("\n## Survivors\n\n| place | mutant | reason |\n|---|---|---|")
    for results in by_folder.values():
        for r in results:
            if r.verdict == "survived":
                m = r.mutant
                print(f"| `{m.path}:{m.number}` | {m.operator}: `{cell(m.before.strip())}` | "
                      f"{cell(reasons.get(m.key, '**none: a gap**'))} |")


def main():
    arguments = argparse.ArgumentParser(prog="./dev mutate", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--root", "--work"):
        arguments.add_argument(name, required=True, type=pathlib.Path, help=argparse.SUPPRESS)
    for name in ("--user-root", "--commit"):
        arguments.add_argument(name, required=True, help=argparse.SUPPRESS)
    arguments.add_argument("--sample", type=int, default=40, metavar="N", help="mutants of each folder (40; 0: all)")
    arguments.add_argument("--seed", default="1", help="which ones; the same seed, the same mutants")
    arguments.add_argument("--list", action="store_true", help="only shows them")
    arguments.add_argument("--markdown", action="store_true", help="the page docs/MUTATION.md")
    arguments.add_argument("folders", nargs="*", help="default: every folder of the product")
    options = arguments.parse_args()
    options.words = [w for w in sys.argv[1:] if w.startswith(("--sample", "--seed")) or w in options.folders]

    tree = Tree(options)
    sys.path.insert(0, str(options.root / "tools" / "lint"))
    import layers

    by_folder = {}
    for folder in options.folders or sorted(layers.HEIGHT):
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
        by_folder[folder] = mutants.sample(all_of_it, options.sample, options.seed)
        print(f"{folder}: {len(all_of_it)} mutants, {len(by_folder[folder])} chosen", file=sys.stderr)
    if options.list:
        for chosen in by_folder.values():
            print("\n".join(map(str, chosen)))
        return 0

    began = time.monotonic()
    runner = Runner(tree)
    reasons = read_reasons(options.root / "tools" / "dev" / "mutation_reasons.txt")
    for folder, chosen in by_folder.items():
        built, by = runner.failed([f"//{folder}/..."] + BESIDE.get(folder, []))
        if by or not built:
            sys.exit(f"mutate: //{folder}/... must pass without a mutant; it does not: {by or 'does not build'}")
        results = []
        for number, mutant in enumerate(chosen, 1):
            result = runner.ask(mutant, folder)
            print(f"[{folder} {number}/{len(chosen)}, {time.monotonic() - began:.0f} s] {result.verdict}"
                  f"{': ' + result.by if result.by else ''}  {mutant}", file=sys.stderr, flush=True)
            results.append(result)
        by_folder[folder] = results
    if options.markdown:
        show_markdown(by_folder, reasons, options, began)
        return 0
    return show(by_folder, reasons)


if __name__ == "__main__":
    sys.exit(main())
