# SPDX-License-Identifier: Apache-2.0
"""The three rules that every BUILD file of Parley uses.

They add what all of our targets share: C++20, our warnings, Linux only, and the include path
`parley/<package>/<header>.h`, for ourselves as for consumers.
"""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

_LINUX = ["@platforms//os:linux"]

_COPTS = [
    "-std=c++20",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Wnon-virtual-dtor",
    "-Wold-style-cast",
    "-Wundef",
    "-Wvla",
]

def parley_copts():
    """Our warnings; errors only in our own workspace (--define=parley_werror=1 in .bazelrc)."""
    return _COPTS + select({
        str(Label("//tools:werror")): ["-Werror"],
        "//conditions:default": [],
    })

def parley_cc_library(name, copts = [], include_prefix = "parley", **kwargs):
    cc_library(
        name = name,
        copts = parley_copts() + copts,
        include_prefix = include_prefix + "/" + native.package_name(),
        features = ["layering_check"],
        target_compatible_with = _LINUX,
        **kwargs
    )

def parley_cc_binary(name, copts = [], **kwargs):
    cc_binary(
        name = name,
        copts = parley_copts() + copts,
        features = ["layering_check"],
        target_compatible_with = _LINUX,
        **kwargs
    )

def parley_cc_test(name, copts = [], deps = [], **kwargs):
    """A GoogleTest test; gtest_main is added. `size` is small unless given."""
    kwargs.setdefault("size", "small")
    cc_test(
        name = name,
        copts = parley_copts() + copts,
        features = ["layering_check"],
        target_compatible_with = _LINUX,
        deps = deps + [
            "@com_google_googletest//:gtest",
            "@com_google_googletest//:gtest_main",
        ],
        **kwargs
    )
