# SPDX-License-Identifier: Apache-2.0
"""The rules of this code base that no compiler knows. Prints file:line: [rule] what is wrong.

    lint.py [--root DIR]       exit code 0: clean, 1: findings
    lint.py --self-test        shows every rule a sample that it must flag and one that it must not

Exceptions are in tools/lint/exceptions.txt, each with its reason.
"""

import argparse
import fnmatch
import os
import re
import sys

import build_files
import examples
import face
import includes
import layers
import named_tests
import planted_bugs
from source import Source

CXX = (".h", ".cc")
TEXT = CXX + (".bazel", ".bzl", ".md", ".sh", ".py", ".pml", ".txt", ".tpl", ".bazelrc", ".patch")
LINE_LIMITS = {"README.md": 170, "SECURITY.md": 120, "CONTRIBUTING.md": 100}
COLUMNS = 100
LICENSED = (".h", ".cc", ".pml", ".py", ".sh", ".bzl")
_SLASHES = (".h", ".cc", ".pml")
_LICENSE = tuple(mark + " SPDX-License-Identifier: Apache-2.0" for mark in ("#", "//"))
EXCEPTIONS = "tools/lint/exceptions.txt"

_ORDER = re.compile(
    r"\bmemory_order(?:::|_)(?:relaxed|acquire|release|acq_rel|consume|seq_cst)\b"
    r"|\b__ATOMIC_(?:RELAXED|ACQUIRE|RELEASE|ACQ_REL|CONSUME|SEQ_CST)\b"
)
_ORDER_TAG = re.compile(r"PAIRS WITH:\s*\S|RELAXED:\s*\S")
_CAST = re.compile(r"\b(?:reinterpret_cast|const_cast)\b")
# Looking at an object's bytes is always defined; in a test that needs no words.
_BYTE_CAST = re.compile(
    r"\breinterpret_cast<(?:const )?(?:(?:unsigned )?char|std::byte|(?:std::)?uint8_t)(?: const)?\*>"
)
_TEST_FOLDERS = {"tests", "testing", "fuzz", "villain"}
_SAFETY = re.compile(r"SAFETY:\s*\S")
# Calls that make a descriptor, and how it gets its owner (os/unique_fd.h) at once.
_DESCRIPTOR = re.compile(
    r"::(?:memfd_create|socketpair|socket|accept4?|eventfd|epoll_create1?|timerfd_create|signalfd"
    r"|inotify_init1?|pipe2?|open|openat|creat|mkostemp|dup[23]?)\s*\("
    r"|\bSYS_(?:pidfd_open|pidfd_getfd|memfd_create|memfd_secret|userfaultfd|openat2?|open|dup[23]?)\b"
    r"|\bF_DUPFD(?:_CLOEXEC)?\b|\bSO_PEERPIDFD\b|\bCLONE_PIDFD\b|==\s*SCM_RIGHTS|!=\s*SCM_RIGHTS"
)
_OWNER = re.compile(r"\bUniqueFd\b|\bReset\(|\bemplace_back\(")
_OWNER_LINES = 16
_DESCRIPTOR_TAG = re.compile(r"DESCRIPTOR:\s*\S")
# Only where memory that the peer can reach is handled.
_CAST_HOMES = re.compile(r"^(?:boundary/|shm/mapping)")
_BANNED = {
    "allocation": re.compile(
        r"(?<!operator )\bnew\b(?!\s*\()|\bnew\s*\(|(?<![=\w]\s)(?<!=)\bdelete\b"
        r"|(?<![\w.>])(?:malloc|calloc|realloc|free|aligned_alloc|posix_memalign|strdup)\s*\("
    ),
    "throw": re.compile(r"\bthrow\b"),
    "assert": re.compile(r"(?<![\w.])assert\s*\(|#\s*include\s*<(?:cassert|assert\.h)>"),
}
_BANNED_WHY = {
    "allocation": "no naked allocation: a container, a smart pointer or a factory owns it",
    "throw": "no exceptions: a Status, or an outcome",
    "assert": "no assert: PARLEY_CHECK for our caller's bug, a returned violation for the peer's",
}
_DELETED_FUNCTION = re.compile(r"=\s*delete\b")
_LONG_WORD = re.compile(r"^\s*(?://\s*)?(?:#\s*include\s)?\S+$")
_INCLUDE = re.compile(r'^\s*#\s*include\s+"parley/([a-z_]+)/([^"]+)"')
# Written in pieces, so that this file does not flag itself.
_MACHINE = re.compile(
    r"(?<![\w.$}])/(?:wor" + r"k|hom" + r"e|roo" + r"t)/[\w.]|/tm" + r"p/(?:wt|ob)/"
)
_REGISTRY = re.compile(
    r"regist" + r"ry\.[a-z0-9-]+\.|de" + r"b\.debian\.org|bc" + r"r\.bazel\.build|proxy\.gol" + r"ang"
)
# A source that a document names.
_NAMED_SOURCE = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9.-]+\.(?:cc|h|py|sh|bzl))`")
_TEST_RULES = {"sh_test", "py_test"}


def code_is_define(code):
    return code.lstrip().startswith("#")


class Tree:
    """The text files of a checkout, by path relative to its root."""

    def __init__(self, root):
        self.root = root
        self.paths = []
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = sorted(
                d
                for d in subfolders
                if d not in (".git", ".cache", "__pycache__", "node_modules", "corpus")
                and not d.startswith("bazel-")
            )
            for name in sorted(names):
                path = os.path.relpath(os.path.join(folder, name), root)
                if os.path.isfile(os.path.join(folder, name)) and self._is_text(path):
                    self.paths.append(path)

    @staticmethod
    def _is_text(path):
        return path.endswith(TEXT) or os.path.basename(path) in ("WORKSPACE", "dev", "run", ".bazelrc")

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as stream:
            return stream.read()


class Linter:
    def __init__(self, tree):
        self.tree = tree
        self.findings = []
        self.exceptions = self._read_exceptions()

    def _read_exceptions(self):
        found = []
        if EXCEPTIONS not in self.tree.paths:
            return found
        for number, line in enumerate(self.tree.read(EXCEPTIONS).split("\n"), 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            words = line.split(None, 2)
            if len(words) < 3:
                self.findings.append((EXCEPTIONS, number, "exception", "wants: rule path reason"))
                continue
            found.append({"rule": words[0], "path": words[1], "line": number, "used": False})
        return found

    def flag(self, path, line, rule, message):
        for exception in self.exceptions:
            if exception["rule"] == rule and fnmatch.fnmatch(path, exception["path"]):
                exception["used"] = True
                return
        self.findings.append((path, line, rule, message))

    def run(self):
        public_headers = set()
        for path in self.tree.paths:
            text = self.tree.read(path)
            if os.path.basename(path) in ("BUILD.bazel", "BUILD"):
                public_headers |= self._build_file(path, text)
            if os.path.basename(path) in LINE_LIMITS and path.count("/") == 0:
                self._length(path, text)
            self._names(path, text)
            self._license(path, text)
            if path.endswith(".md"):
                self._named_sources(path, text)
        for path in self.tree.paths:
            if path.endswith(CXX):
                self._cxx(path, self.tree.read(path), path in public_headers)
        for path, line, message in named_tests.findings(self.tree):
            self.flag(path, line, "named-tests", message)
        for path, line, message in examples.findings(self.tree):
            self.flag(path, line, "examples", message)
        for path, line, message in face.findings(self.tree):
            self.flag(path, line, "face", message)
        for path, line, message in includes.findings(self.tree):
            self.flag(path, line, "includes", message)
        for path, line, message in planted_bugs.findings(self.tree):
            self.flag(path, line, "planted", message)
        for exception in self.exceptions:
            if not exception["used"]:
                self.findings.append(
                    (EXCEPTIONS, exception["line"], "exception", "allows nothing any more: remove it")
                )
        return sorted(set(self.findings))

    def _length(self, path, text):
        lines, limit = len(text.splitlines()), LINE_LIMITS[os.path.basename(path)]
        if lines >= limit:
            self.flag(path, lines, "length", f"{lines} lines; it must stay under {limit}")

    def _license(self, path, text):
        if not path.endswith(LICENSED) and os.path.basename(path) not in ("dev", "run"):
            return
        if text.split("\n", 2)[:2].count(_LICENSE[path.endswith(_SLASHES)]) != 1:
            self.flag(path, 1, "license", f"the first line, or the second of a script, is {_LICENSE[0][2:]}")

    def _names(self, path, text):
        for number, line in enumerate(text.split("\n"), 1):
            if _MACHINE.search(line):
                self.flag(path, number, "machine", "a path of one machine")
            if _REGISTRY.search(line):
                self.flag(path, number, "machine", "a registry's host name")

    def _named_sources(self, path, text):
        """A path counts from the root or from the document's own folder."""
        for number, line in enumerate(text.split("\n"), 1):
            for name in _NAMED_SOURCE.findall(line):
                bases = ("", os.path.dirname(path))
                if not any(os.path.isfile(os.path.join(self.tree.root, base, name)) for base in bases):
                    self.flag(path, number, "source", f"there is no {name}")

    def _build_file(self, path, text):
        """Checks layers and rule kinds; the public headers that the file declares."""
        package = os.path.dirname(path)
        folder = package.split("/")[0]
        headers = set()
        try:
            rules = build_files.rules(text)
        except SyntaxError as error:
            self.flag(path, error.lineno or 1, "build", f"can't be read: {error.msg}")
            return headers
        for rule in rules:
            if rule.kind in _TEST_RULES:
                self.flag(path, rule.line, "test-rule", f"no {rule.kind}: consumers' Bazel may lack it")
            if rule.kind.endswith("cc_library") and not rule.is_true("testonly"):
                headers |= {f"{package}/{h}" for h in rule.strings("hdrs") if h.endswith(".h")}
            if package.startswith("examples/consumer") or folder in ("tools", "third_party", "docs", ""):
                continue  # another workspace; no layer
            if not any(part in rule.kind for part in ("cc_", "fuzz_test")):
                continue
            for label in rule.strings("deps") + rule.strings("implementation_deps"):
                self._dependency(path, rule, folder, label)
        return headers

    def _dependency(self, path, rule, folder, label):
        if label.startswith("@"):
            repository, _, rest = label[1:].partition("//")
            if repository != "parley":
                why = layers.external_refusal(folder, repository)
                if why:
                    self.flag(path, rule.line, "layer", f"{rule.name}: {why}")
                return
            label = "//" + rest
        if not label.startswith("//"):
            return
        package, _, target = label[2:].partition(":")
        for_tests = rule.is_true("testonly") or rule.kind.endswith("_test")
        why = layers.refusal(
            folder, package.split("/")[0], target or package.split("/")[-1], for_tests
        )
        if why:
            self.flag(path, rule.line, "layer", f"{rule.name}: {why}")

    def _cxx(self, path, text, is_public):
        source = Source(text)
        lines = text.split("\n")
        folder = path.split("/")[0]
        helps_tests = path.rpartition("/")[2].startswith("testing_")
        is_test = path.endswith("_test.cc") or helps_tests or folder in _TEST_FOLDERS
        for index, code in enumerate(source.code):
            line = index + 1
            if len(lines[index]) > COLUMNS and not _LONG_WORD.search(lines[index]):
                self.flag(path, line, "columns", f"{len(lines[index])} columns; {COLUMNS} fit")
            if _ORDER.search(code) and not _ORDER_TAG.search(source.near_comment(index)):
                self.flag(path, line, "order", "a memory order wants `PAIRS WITH:` or `RELAXED:` above it")
            if _CAST.search(code):
                bytes_in_test = is_test and len(_CAST.findall(code)) == len(_BYTE_CAST.findall(code))
                if not bytes_in_test and not _SAFETY.search(source.near_comment(index)):
                    self.flag(path, line, "cast", "a cast wants `SAFETY:` and the reason above it")
                if folder in layers.HEIGHT and not is_test and not _CAST_HOMES.match(path):
                    self.flag(path, line, "cast-home", "a layer's casts live in boundary/ and shm/mapping*")
            if _DESCRIPTOR.search(code) and folder in layers.HEIGHT and not is_test:
                self._descriptor(path, index, source)
            plain = _DELETED_FUNCTION.sub("", code)
            for rule, pattern in _BANNED.items():
                if pattern.search(plain):
                    self.flag(path, line, rule, _BANNED_WHY[rule])
            self._include(path, line, folder, lines[index])
        if path.endswith(".h"):
            self._header(path, text, source, is_public and folder in layers.HEIGHT)

    def _descriptor(self, path, index, source):
        """Only a UniqueFd keeps a new descriptor above the standard ones."""
        if os.path.basename(path).startswith(("test_", "testing_")) or code_is_define(source.code[index]):
            return
        start = source.statement_start(index)
        if _DESCRIPTOR_TAG.search(source.near_comment(index)):
            return
        if not _OWNER.search("\n".join(source.code[start : index + _OWNER_LINES])):
            self.flag(path, index + 1, "descriptor", "a new descriptor wants its UniqueFd, or `DESCRIPTOR:` and why not")

    def _include(self, path, line, folder, text):
        match = _INCLUDE.match(text)
        if not match or path.startswith("examples/consumer"):
            return
        used, header = match.groups()
        target = header.rsplit(".", 1)[0].split("/")[-1]
        # Who else may use test helpers is Bazel's testonly to say.
        why = layers.refusal(folder, used, target, for_tests=True)
        if why:
            self.flag(path, line, "layer", why)

    def _header(self, path, text, source, is_public):
        guard = "PARLEY_" + re.sub(r"[^A-Za-z0-9]", "_", path).upper() + "_"
        if f"#ifndef {guard}\n#define {guard}\n" not in text:
            self.flag(path, 1, "guard", f"wants the include guard {guard}")
        if not is_public:
            return
        top = []
        for code, comment in zip(source.code, source.comment):
            if code.strip() and not code.lstrip().startswith("#"):
                break
            top.append(comment)
        top = "\n".join(top)
        # A header without a class (constants, traits) has nothing that two threads could share.
        has_class = any(re.match(r"class \w+[^;]*$", code) for code in source.code)
        if has_class and not re.search(r"\bThreads:\s*\S", top):
            self.flag(path, 1, "manual", "the comment at the top wants `Threads:`")
        if not path.startswith("os/") and not re.search(r"\bTrust:\s*\S", top):
            self.flag(path, 1, "manual", "the comment at the top wants `Trust:`")


def main():
    arguments = argparse.ArgumentParser(prog="./dev lint")
    arguments.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    arguments.add_argument("--self-test", action="store_true")
    options = arguments.parse_args()
    if options.self_test:
        import self_test

        return self_test.main()
    tree = Tree(os.path.abspath(options.root))
    findings = Linter(tree).run()
    for path, line, rule, message in findings:
        print(f"{path}:{line}: [{rule}] {message}")
    print(f"lint: {len(tree.paths)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
