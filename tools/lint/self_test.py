# SPDX-License-Identifier: Apache-2.0
"""Each rule against a sample that it must flag and one that it must not."""

import os
import sys
import tempfile

import lint

HEADER = """#ifndef PARLEY_RING_X_H_
#define PARLEY_RING_X_H_

// What it is.
//
// Trust: nothing. Threads: any.

%s

#endif  // PARLEY_RING_X_H_
"""
PATCH = "Bug: x\nTest: //ring:x_test\n\n--- a/ring/a.cc\n+++ b/ring/a.cc\n@@ -2,2 +2,2 @@\n int b;\n-int c;\n+int d;\n"
PUBLIC = 'parley_cc_library(name = "%s", visibility = ["//%s"])\n'
LIBRARY = 'parley_cc_library(name = "x", hdrs = ["x.h"], deps = [%s])\n'



def pulling(name, end, start=0):
    """A header that includes os/h<start>.h up to os/h<end - 1>.h, and channel/sender.h unless it is that."""
    guard = f"PARLEY_CHANNEL_{name}_H_"
    lines = [f'#include "parley/os/h{i}.h"' for i in range(start, end)]
    if name != "SENDER":
        lines.append('#include "parley/channel/sender.h"')
    return "\n".join([f"#ifndef {guard}", f"#define {guard}", *lines, "#endif", ""])


# (what, {path: text}, the rules that must be flagged, and no others)
SAMPLES = [
    ("an order without a reason", {"ring/a.cc": "x.load(std::memory_order_acquire);\n"}, {"order"}),
    ("the builtin's order", {"ring/a.cc": "__atomic_load_n(&x, __ATOMIC_RELAXED);\n"}, {"order"}),
    ("an empty tag", {"ring/a.cc": "// PAIRS WITH:\nx.load(std::memory_order_acquire);\n"}, {"order"}),
    (
        "a tag too far above",
        {"ring/a.cc": "// RELAXED: why.\nint a;\nint b;\nint c;\nint d;\nx.load(std::memory_order_relaxed);\n"},
        {"order"},
    ),
    (
        "a tag of another statement's string",
        {"ring/a.cc": 'Log("RELAXED: why");\nx.load(std::memory_order_relaxed);\n'},
        {"order"},
    ),
    (
        "orders with their reasons",
        {
            "ring/a.cc": "// RELAXED: only we write it.\nx.load(std::memory_order_relaxed);\n\n"
            "y.store(1, std::memory_order_release);  // PAIRS WITH: the load in b.cc\n\n"
            "// PAIRS WITH: a reason that\n// takes\n// more\n// than\n// three lines.\n"
            "z.compare_exchange_strong(\n    one,\n    two,\n    three,\n    std::memory_order_acq_rel);\n"
        },
        set(),
    ),
    (
        "a document that names a source that is gone",
        {"docs/A.md": "`wait/gone.cc` and `wait/a.cc`\n", "wait/a.cc": "int a;\n"},
        {"source"},
    ),
    (
        "a document that names sources, from the root and from its folder",
        {"wait/in/A.md": "`wait/a.cc` and `sub/b.py`\n", "wait/a.cc": "int a;\n", "wait/in/sub/b.py": "b = 1\n"},
        set(),
    ),
    ("a descriptor without an owner", {"wait/a.cc": "int fd = ::eventfd(0, 0);\n"}, {"descriptor"}),
    (
        "descriptors with owners, and one that is somebody else's",
        {
            "wait/a.cc": "UniqueFd fd(::eventfd(0, 0));\n\nint fds[2];\n"
            "if (::socketpair(AF_UNIX, 0, 0, fds) != 0) return;\nUniqueFd a(fds[0]);\n"
            + "int x;\n" * 20
            + "// DESCRIPTOR: the child's own.\nint c = ::dup2(3, 0);\n#define F_DUPFD_CLOEXEC 1030\n",
            "wait/a_test.cc": "int fd = ::eventfd(0, 0);\n",
        },
        set(),
    ),
    (
        "a cast without a reason",
        {"boundary/a.cc": "auto* p = reinterpret_cast<int*>(q);\n"},
        {"cast"},
    ),
    (
        "a cast away from home",
        {"ring/a.cc": "// SAFETY: why.\nauto* p = const_cast<int*>(q);\n"},
        {"cast-home"},
    ),
    (
        "casts at home, in a test, in a comment, in a string",
        {
            "boundary/a.cc": "// SAFETY: why.\nauto* p = reinterpret_cast<int*>(q);\n",
            "shm/mapping_view.cc": "auto* p = reinterpret_cast<int*>(q);  // SAFETY: why.\n",
            "examples/a.cc": "// SAFETY: why.\nauto* p = reinterpret_cast<int*>(q);\n",
            "ring/a_test.cc": "// SAFETY: why.\nauto* p = reinterpret_cast<int*>(q);\n",
            "ring/b.cc": '// no reinterpret_cast here\nchar s[] = "const_cast";\n'
            'auto r = R"(throw new reinterpret_cast)";\n',
        },
        set(),
    ),
    ("new", {"ring/a.cc": "auto* p = new int(3);\n"}, {"allocation"}),
    ("placement new", {"ring/a.cc": "new (p) Thing();\n"}, {"allocation"}),
    ("delete", {"ring/a.cc": "delete p;\n"}, {"allocation"}),
    ("delete of an array", {"ring/a.cc": "if (p) delete[] p;\n"}, {"allocation"}),
    ("malloc", {"ring/a.cc": "void* p = std::malloc(3);\n"}, {"allocation"}),
    ("free", {"ring/a.cc": "  free(p);\n"}, {"allocation"}),
    ("throw", {"ring/a.cc": "throw 3;\n"}, {"throw"}),
    ("assert", {"ring/a.cc": "assert(x);\n"}, {"assert"}),
    (
        "what only looks like those",
        {
            "ring/a.cc": "A(const A&) = delete;\nstatic_assert(sizeof(int) == 4);\nint new_head = 1'000;\n"
            "pool.free(slot);\nav_free(p);\nint x = '\"';  // a new one; throw it away\n"
            "A& operator=(A&&) =delete;\n"
        },
        set(),
    ),
    ("a wrong guard", {"ring/x.h": "#ifndef RING_X_H\n#define RING_X_H\n#endif\n"}, {"guard"}),
    ("pragma once", {"ring/x.h": "#pragma once\n"}, {"guard"}),
    (
        "a public header without Threads",
        {"ring/x.h": HEADER.replace("Threads: any.", "") % "class A {", "ring/BUILD.bazel": LIBRARY % ""},
        {"manual"},
    ),
    (
        "a public header without Trust",
        {"ring/x.h": HEADER.replace("Trust: nothing.", "") % "", "ring/BUILD.bazel": LIBRARY % ""},
        {"manual"},
    ),
    (
        "Trust too late in a public header",
        {
            "ring/x.h": HEADER.replace("Trust: nothing.", "") % "class A;\n// Trust: none.",
            "ring/BUILD.bazel": LIBRARY % "",
        },
        {"manual"},
    ),
    (
        "headers as they should be: public, private, for tests",
        {
            "ring/x.h": HEADER % "",
            "ring/private.h": "#ifndef PARLEY_RING_PRIVATE_H_\n#define PARLEY_RING_PRIVATE_H_\n#endif\n",
            "ring/fake.h": "#ifndef PARLEY_RING_FAKE_H_\n#define PARLEY_RING_FAKE_H_\n#endif\n",
            "ring/BUILD.bazel": LIBRARY % '"//boundary:untrusted", "//os:check"'
            + 'parley_cc_library(name = "fake", testonly = True, hdrs = ["fake.h"])\n',
        },
        set(),
    ),
    ("an upward include", {"shm/a.cc": '#include "parley/channel/sender.h"\n'}, {"layer"}),
    ("a sideways include", {"shm/a.cc": '#include "parley/ring/producer.h"\n'}, {"layer"}),
    ("ring with more of os", {"ring/a.cc": '#include "parley/os/deadline.h"\n'}, {"layer"}),
    ("a folder without a layer", {"channel/a.cc": '#include "parley/mystery/a.h"\n'}, {"layer"}),
    (
        "downward includes",
        {
            "ring/a.cc": '#include "parley/boundary/x.h"\n#include "parley/os/check.h"\n'
            '#include "parley/ring/y.h"\n',
            "tests/a_test.cc": '#include "parley/villain/a.h"\n#include "parley/os/deadline.h"\n',
        },
        set(),
    ),
    ("an upward dependency", {"os/BUILD.bazel": LIBRARY % '"//shm"'}, {"layer"}),
    ("a layer on the villain", {"channel/BUILD.bazel": LIBRARY % '"//villain:peer"'}, {"layer"}),
    (
        "an upward dependency in a select",
        {
            "os/BUILD.bazel": 'parley_cc_test(name = "t", deps = select({"//tools:werror": '
            '["@parley//media:frame"], "//conditions:default": []}))\n'
        },
        {"layer"},
    ),
    ("a library on test helpers", {"ring/BUILD.bazel": LIBRARY % '"//testing:heap_memory"'}, {"layer"}),
    ("test helpers on a layer", {"testing/a.h": '#include "parley/sandbox/a.h"\n'}, {"layer", "guard"}),
    (
        "tests on test helpers",
        {
            "ring/a_test.cc": '#include "parley/testing/heap_memory.h"\n',
            "ring/BUILD.bazel": 'parley_cc_test(name = "t", deps = ["//testing:heap_memory"])\n'
            'parley_cc_library(name = "f", testonly = True, deps = ["//testing:heap_memory"])\n',
        },
        set(),
    ),
    (
        "a test's cast that is more than a look at bytes",
        {"ring/a_test.cc": "f(reinterpret_cast<char*>(p), reinterpret_cast<int*>(q));\n"},
        {"cast"},
    ),
    (
        "a test that looks at bytes",
        {"ring/a_test.cc": "f(reinterpret_cast<const std::byte*>(p), reinterpret_cast<char*>(q));\n"},
        set(),
    ),
    (
        "a header of constants",
        {
            "ring/x.h": HEADER.replace("Threads: any.", "") % "inline constexpr int kA = 3;\nclass B;",
            "ring/BUILD.bazel": LIBRARY % "",
        },
        set(),
    ),
    (
        "a user's header that pulls in the house",
        {
            "channel/channel.h": pulling("CHANNEL", 11),
            "channel/sender.h": pulling("SENDER", 20, 11),
            **{f"os/h{i}.h": "#ifndef PARLEY_OS_H%d_H_\n#define PARLEY_OS_H%d_H_\n#endif\n" % (i, i) for i in range(20)},
        },
        {"includes"},
    ),
    (
        "a user's header with as many as it may have, some of them twice",
        {
            "channel/channel.h": pulling("CHANNEL", 11),
            "channel/sender.h": pulling("SENDER", 19, 5),
            **{f"os/h{i}.h": "#ifndef PARLEY_OS_H%d_H_\n#define PARLEY_OS_H%d_H_\n#endif\n" % (i, i) for i in range(20)},
        },
        set(),
    ),
    ("a source without its license", {"ring/a.cc": "\nint a;\n"}, {"license"}),
    ("a license below the code", {"os/a.cc": "\n\n// SPDX-License-Identifier: Apache-2.0\n"}, {"license"}),
    ("another license", {"os/a.py": "\n# SPDX-License-Identifier: MIT\n"}, {"license"}),
    ("a script's license, in its second line", {"os/a.sh": "\n# SPDX-License-Identifier: Apache-2.0\n"}, set()),
    (
        "a package that is public by default",
        {"ring/BUILD.bazel": 'package(default_visibility = ["//visibility:public"])\n'},
        {"face"},
    ),
    ("a public target that the face does not name", {"ring/BUILD.bazel": PUBLIC % ("cursor", "visibility:public")}, {"face"}),
    ("a target of the face that is not public", {"ring/BUILD.bazel": PUBLIC % ("ring", ":__subpackages__")}, {"face"}),
    (
        "power over safety for the whole house",
        {"channel/BUILD.bazel": PUBLIC % ("hostile_access", ":__subpackages__")},
        {"face"},
    ),
    (
        "a consumer that names what is not public",
        {"examples/consumer/BUILD.bazel": 'cc_test(name = "t", deps = ["@parley//ring:cursor"])\n'},
        {"face"},
    ),
    (
        "public, private, restricted, and a consumer of the public",
        {
            "ring/BUILD.bazel": 'package(default_visibility = ["//visibility:private"])\n'
            + PUBLIC % ("ring", "visibility:public")
            + PUBLIC % ("cursor", ":__subpackages__"),
            "channel/BUILD.bazel": PUBLIC % ("hostile_access", "tests:__pkg__"),
            "examples/consumer/BUILD.bazel": 'cc_test(name = "t", deps = ["@parley//ring", "@parley//os:deadline"])\n',
        },
        set(),
    ),
    (
        "a user's header with an example that nothing compiles",
        {
            "ring/BUILD.bazel": PUBLIC.replace("vis", 'hdrs = ["x.h", "y.h"], vis') % ("ring", "visibility:public"),
            "ring/x.h": (HEADER % "").replace("// Trust", "//   Ring ring;  // one\n//   ring.Turn(\n//\n// Trust"),
            "ring/y.h": (HEADER % "").replace("RING_X", "RING_Y"),
            "tests/header_examples/BUILD.bazel": "",
        },
        {"examples"},
    ),
    (
        "an example that is compiled, a picture, and a private header",
        {
            "ring/BUILD.bazel": PUBLIC.replace("vis", 'hdrs = ["x.h", "y.h"], vis') % ("ring", "visibility:public")
            + 'parley_cc_library(name = "z", hdrs = ["z.h"])\n',
            "ring/x.h": (HEADER % "").replace("// Trust", "//   Ring ring;\n//\n// Trust"),
            "ring/y.h": (HEADER % "").replace("RING_X", "RING_Y").replace("// Trust", "//   | head | tail |\n//\n// Trust"),
            "ring/z.h": (HEADER % "").replace("RING_X", "RING_Z").replace("// Trust", "//   Ring ring;\n//\n// Trust"),
            "tests/header_examples/BUILD.bazel": '_EXAMPLES = [("ring/x.h", 0, 0)]\n',
        },
        set(),
    ),
    ("libseccomp outside the sandbox", {"channel/BUILD.bazel": LIBRARY % '"@libseccomp//:seccomp"'}, {"layer"}),
    ("libav in a layer", {"media/BUILD.bazel": LIBRARY % '"@libav//:avcodec"'}, {"layer"}),
    (
        "a BUILD file that is cut",
        {"os/BUILD.bazel": "parley_cc_library(\n", "tests/header_examples/BUILD.bazel": ""},
        {"build"},
    ),
    ("sh_test", {"os/BUILD.bazel": 'sh_test(name = "t", srcs = ["t.sh"])\n'}, {"test-rule"}),
    (
        "dependencies as they should be",
        {
            "sandbox/BUILD.bazel": LIBRARY % '"@libseccomp//:seccomp", "//channel", ":y"',
            "examples/BUILD.bazel": LIBRARY % '"//villain:peer", "@libav//:avcodec", "//sandbox"',
        },
        set(),
    ),
    ("a wide comment", {"ring/a.cc": "// " + "word " * 20 + "\n"}, {"columns"}),
    ("what fits, and what can't be broken", {"ring/a.cc": "//" + " x" * 49 + "\n// " + "x" * 120 + "\n"}, set()),
    ("a path of this machine", {"docs/x.md": "see /ho" + "me/someone/x\n"}, {"machine"}),
    ("a registry", {"tools/x.sh": "curl https://regist" + "ry.npmjs.org/x\n"}, {"machine"}),
    (
        "paths that every machine has",
        {"docs/x.md": "/usr/src/googletest, /proc/self/fd, bench/work/x, $HOME/x, /tmp/x\n"},
        set(),
    ),
    ("a long README", {"README.md": "x\n" * 170}, {"length"}),
    ("a README that fits", {"README.md": "x\n" * 169}, set()),
    (
        "an exception without a reason",
        {"tools/lint/exceptions.txt": "throw ring/a.cc\n", "ring/a.cc": "throw 3;\n"},
        {"exception", "throw"},
    ),
    ("an exception for nothing", {"tools/lint/exceptions.txt": "throw ring/a.cc why\n"}, {"exception"}),
    (
        "an exception that is used",
        {"tools/lint/exceptions.txt": "throw ring/*.cc why  # more\n", "ring/a.cc": "throw 3;\n"},
        set(),
    ),
    ("a document that names a lost test", {"docs/x.md": "shown by `RingTest.Gone`\n"}, {"named-tests"}),
    (
        "an attack that has a test by now",
        {"docs/ATTACKS.md": "| W1 | x | y | no test yet | |\n", "os/a_test.cc": "TEST(A, AttackF7W1Naive) {}\n"},
        {"named-tests"},
    ),
    ("an attack without a word on tests", {"docs/ATTACKS.md": "| W1 | x | y | | |\n"}, {"named-tests"}),
    (
        "a case that the villain does not have",
        {"docs/ATTACKS.md": "| W1 | x | y | no test yet | `gone` |\n"},
        {"named-tests"},
    ),
    (
        "a case of another row",
        {
            "docs/ATTACKS.md": "| W1 | x | y | no test yet | `b` |\n| W2 | x | y | no test yet | |\n",
            "villain/x_cases.cc": 'return {{"b", "W2", "c"}};\n',
        },
        {"named-tests"},
    ),
    (
        "a row that the cases of another one show",
        {
            "docs/ATTACKS.md": "| W1 | x | y | no test yet | those of W2 |\n| W2 | x | y | no test yet | `b` |\n",
            "villain/x_cases.cc": 'return {{"b", "W2", "c"}};\n',
        },
        set(),
    ),
    (
        "a row that leans on one without a case",
        {
            "docs/ATTACKS.md": "| W1 | x | y | no test yet | those of W2 and W3 |\n| W2 | x | y | no test yet | `b` |\n",
            "villain/x_cases.cc": 'return {{"b", "W2", "c"}};\n',
        },
        {"named-tests"},
    ),
    (
        "a case that the table forgets",
        {
            "docs/ATTACKS.md": "| W1 | x | y | no test yet | |\n",
            "villain/x_cases.cc": 'return {{"b",\n        "W1", "c"}};\n',
        },
        {"named-tests"},
    ),
    (
        "a row that the table forgets",
        {"docs/ATTACKS.md": "x\n", "villain/x_cases.cc": 'return {inside("b", "W1", "c")};\n'},
        {"named-tests"},
    ),
    ("a document that names a lost case", {"docs/x.md": "shown by `villain: gone`\n"}, {"named-tests"}),
    ("a promise without a test", {"docs/DESIGN.md": "x\n"}, {"named-tests"}),
    (
        "a planted bug that applies",
        {
            "fuzz/planted/x.patch": PATCH,
            "ring/a.cc": "int z;\nint a;\nint b;\nint c;\n",
            "ring/BUILD.bazel": "",
        },
        set(),
    ),
    (
        "one whose code has changed",
        {"fuzz/planted/x.patch": PATCH, "ring/a.cc": "int b;\nint e;\n", "ring/BUILD.bazel": ""},
        {"planted"},
    ),
    (
        "one whose file has gone",
        {"fuzz/planted/x.patch": PATCH, "ring/BUILD.bazel": ""},
        {"planted"},
    ),
    (
        "one whose test has gone",
        {"fuzz/planted/x.patch": PATCH, "ring/a.cc": "int b;\nint c;\n"},
        {"planted"},
    ),
    (
        "one that nobody is to catch",
        {
            "fuzz/planted/x.patch": PATCH.replace("Test: //ring:x_test\n", ""),
            "ring/a.cc": "int b;\nint c;\n",
        },
        {"planted"},
    ),
    (
        "one whose fuzzer has gone",
        {
            "fuzz/planted/x.patch": PATCH.replace("Test: //ring:x_test", "Target: x_fuzzer"),
            "ring/a.cc": "int b;\nint c;\n",
        },
        {"planted"},
    ),
    (
        "one whose model has gone",
        {
            "fuzz/planted/x.patch": PATCH.replace("Test: //ring:x_test", "Model: -DX -DY"),
            "ring/a.cc": "int b;\nint c;\n",
            "verify/x.pml": "// must fail (deadlock): -DX\n",
        },
        {"planted"},
    ),
    (
        "one for a model",
        {
            "fuzz/planted/x.patch": PATCH.replace("Test: //ring:x_test", "Model: -DX -DY"),
            "ring/a.cc": "int b;\nint c;\n",
            "verify/x.pml": "// must fail (deadlock): -DX -DY\n",
        },
        set(),
    ),
    (
        "too few of them",
        {"tools/dev/planted.py": "", "fuzz/planted/x.patch": PATCH, "ring/a.cc": "int b;\nint c;\n", "ring/BUILD.bazel": ""},
        {"planted"},
    ),
    (
        "a fuzzer that has a planted bug to find",
        {
            "fuzz/planted/x.patch": PATCH.replace("Test: //ring:x_test", "Target: x_fuzzer"),
            "fuzz/x_fuzzer.cc": "",
            "ring/a.cc": "int b;\nint c;\n",
        },
        set(),
    ),
    (
        "one that has none",
        {
            "fuzz/planted/x.patch": PATCH.replace("Test: //ring:x_test", "Target: x_fuzzer"),
            "fuzz/x_fuzzer.cc": "",
            "fuzz/y_fuzzer.cc": "",
            "ring/a.cc": "int b;\nint c;\n",
        },
        {"planted"},
    ),
    (
        "a planted bug that has a row",
        {
            "docs/PLANTED.md": "| `x`: a bug | - |\n",
            "fuzz/planted/x.patch": PATCH,
            "ring/a.cc": "int b;\nint c;\n",
            "ring/BUILD.bazel": "",
        },
        set(),
    ),
    (
        "one that has none",
        {
            "docs/PLANTED.md": "| `y`: a bug | - |\n",
            "fuzz/planted/x.patch": PATCH,
            "ring/a.cc": "int b;\nint c;\n",
            "ring/BUILD.bazel": "",
        },
        {"planted"},
    ),
    (
        "a row about nothing",
        {
            "docs/PLANTED.md": "| `x`: a bug | - |\n| `y`: a bug | - |\n",
            "fuzz/planted/x.patch": PATCH,
            "ring/a.cc": "int b;\nint c;\n",
            "ring/BUILD.bazel": "",
        },
        {"planted"},
    ),
    (
        "documents whose tests are there",
        {
            "docs/ATTACKS.md": "| W1 | x | y | `A.AttackW1Naive` | `b`, `c-2` |\n| W2 | x | y | no test yet | |\n",
            "docs/DESIGN.md": "`lint.Py` `A.b` CHANGELOG.md `villain: b`\n",
            "villain/x_cases.cc": 'return {{"b", "W1", "c"}, inside("c-2", "W1", "d"), {"e", "-", "f"}};\n',
            "os/a_test.cc": "TEST_P(A,\n       AttackW1Naive) {}\n"
            + "".join(f"TEST(A, PromiseP{n}X) {{}}\n" for n in range(1, 10)),
        },
        set(),
    ),
]

_LICENSE = " SPDX-License-Identifier: Apache-2.0\n"


def rules_flagged(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            # Each sample has its license, but for those that begin with an empty line.
            if path.endswith(lint.LICENSED) and not text.startswith("\n"):
                text = ("//" if path.endswith((".h", ".cc", ".pml")) else "#") + _LICENSE + text
            os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as stream:
                stream.write(text)
        return lint.Linter(lint.Tree(root)).run()


def main():
    wrong = 0
    for what, files, expected in SAMPLES:
        findings = rules_flagged(files)
        if {rule for _, _, rule, _ in findings} != expected:
            wrong += 1
            print(f"self-test: {what}: wanted {sorted(expected)}, got {findings}")
    flagged = set().union(*(expected for _, _, expected in SAMPLES))
    print(f"lint --self-test: {len(SAMPLES)} samples, {len(flagged)} rules, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
