# SPDX-License-Identifier: Apache-2.0
"""cc_fuzz_test with what all of our own targets share."""

load("//testing:fuzz.bzl", "cc_fuzz_test")
load("//tools:parley.bzl", "parley_copts")

def parley_fuzz_test(name, **kwargs):
    """Our warnings and layers; everything else as in //testing:fuzz.bzl."""
    cc_fuzz_test(
        name = name,
        copts = parley_copts(),
        features = ["layering_check"],
        target_compatible_with = ["@platforms//os:linux"],
        **kwargs
    )
