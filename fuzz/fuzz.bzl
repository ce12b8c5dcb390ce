"""One macro per fuzz target: the fuzzer itself with clang, its corpus as a test everywhere."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_test")
load("//tools:parley.bzl", "parley_copts")

_LINUX = ["@platforms//os:linux"]

def parley_fuzz_test(name, srcs, corpus, dictionary = None, deps = [], **kwargs):
    """A fuzz target, that is a file with LLVMFuzzerTestOneInput.

    Makes `name`, the libFuzzer program (--config=fuzz, tag "fuzz", run by ./dev fuzz), and
    `name_replay`, a test without libFuzzer for every compiler, which runs each corpus file once.

    Args:
      name: what is attacked, as in `ring_consumer_fuzz`.
      srcs: the target's one source.
      corpus: the seeds, never empty: a glob of `corpus/<name>/**`.
      dictionary: a libFuzzer dictionary, or None.
      deps: what the source includes.
      **kwargs: for both, so only what every rule knows (visibility, data).
    """
    if not corpus:
        fail("fuzz target {}: the corpus is empty; give it seeds that reach the code".format(name))

    # ./dev fuzz asks Bazel for these two.
    native.filegroup(name = name + "_corpus", testonly = True, srcs = corpus)
    native.filegroup(name = name + "_dictionary", testonly = True, srcs = [dictionary] if dictionary else [])

    cc_binary(
        name = name,
        testonly = True,
        srcs = srcs,
        copts = parley_copts(),
        features = ["layering_check"],
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["fuzz", "manual"],
        target_compatible_with = _LINUX + select({
            "//fuzz:libfuzzer": [],
            "//conditions:default": ["@platforms//:incompatible"],
        }),
        deps = deps,
        **kwargs
    )

    cc_test(
        name = name + "_replay",
        size = "small",
        srcs = srcs,
        args = ["$(rootpaths :{}_corpus)".format(name)],
        copts = parley_copts(),
        data = [":{}_corpus".format(name)],
        features = ["layering_check"],
        # The fuzzer's build has libFuzzer's hooks everywhere and no use for the replay.
        target_compatible_with = _LINUX + select({
            "//fuzz:libfuzzer": ["@platforms//:incompatible"],
            "//conditions:default": [],
        }),
        deps = deps + ["//fuzz:replay_main"],
        **kwargs
    )
