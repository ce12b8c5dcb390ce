# SPDX-License-Identifier: Apache-2.0
"""cc_fuzz_test for this repository and for others: one target, a test or a libFuzzer program.

    load("@parley//testing:fuzz.bzl", "cc_fuzz_test")

    cc_fuzz_test(
        name = "handler_fuzzer",
        srcs = ["handler_fuzzer.cc"],
        corpus = glob(["corpus/handler_fuzzer/**"]),
        dicts = ["handler_fuzzer.dict"],
        deps = [":handler", "@parley//testing:hostile_peer"],
    )

The attributes have the names that the cc_fuzz_test of rules_fuzzing gives them, so that a BUILD
file can change over by its load line. What differs: there is one engine, libFuzzer; `corpus` is
required; and `name` is the fuzzer itself in a build with --define=parley_fuzz=libfuzzer (with
clang; docs/FUZZING.md has the lines for .bazelrc), not a second target beside it.
"""

load("@rules_cc//cc:defs.bzl", "cc_test")

def _if_fuzzing(then, otherwise):
    return select({
        str(Label("//testing:libfuzzer")): then,
        "//conditions:default": otherwise,
    })

def cc_fuzz_test(
        name,
        corpus,
        dicts = None,
        size = "small",
        tags = None,
        deps = None,
        linkopts = None,
        **kwargs):
    """A fuzz target, that is a source with LLVMFuzzerTestOneInput.

    Makes `name`, which runs each file of the corpus once: a test for every compiler, and the
    libFuzzer program where the build asks for it; `name_corpus`, the files; and, if there are
    dictionaries, `name_dict`, all of them in one.

    Args:
      name: what is attacked, as in `ring_consumer_fuzzer`.
      corpus: the seeds, never empty: a glob of `corpus/<name>/**`.
      dicts: libFuzzer dictionaries.
      size: the test's.
      tags: further tags; it has "fuzz-test" always.
      deps: what the sources include.
      linkopts: further ones.
      **kwargs: as for cc_test (srcs, copts, data, timeout, visibility).
    """
    if not corpus:
        fail("fuzz target {}: the corpus is empty; give it seeds that reach the code".format(name))
    native.filegroup(
        name = name + "_corpus",
        testonly = True,
        srcs = corpus,
    )
    if dicts:
        native.genrule(
            name = name + "_dict",
            testonly = True,
            srcs = dicts,
            outs = [name + "_merged.dict"],
            cmd = "cat $(SRCS) > $@",
        )
    cc_test(
        name = name,
        size = size,
        args = ["$(rootpaths :{}_corpus)".format(name)],
        data = kwargs.pop("data", []) + [":{}_corpus".format(name)],
        # One file, which can be kept while the tree goes on.
        linkstatic = kwargs.pop("linkstatic", True),
        linkopts = (linkopts or []) + _if_fuzzing(["-fsanitize=fuzzer"], []),
        tags = (tags or []) + ["fuzz-test"],
        deps = (deps or []) + _if_fuzzing([], [str(Label("//testing:replay_main"))]),
        **kwargs
    )
