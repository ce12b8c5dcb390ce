# SPDX-License-Identifier: Apache-2.0
"""Repositories that only parley-thumb and Parley's own examples, tests and benchmark need."""

load("//tools:system_repositories.bzl", "system_bench_competitors", "system_event_loops", "system_pkg_config")

_DEMO_LIBRARIES = {
    "libav": (
        "libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libswresample-dev",
        {
            "avcodec": "libavcodec",
            "avformat": "libavformat",
            "avutil": "libavutil",
            "swresample": "libswresample",
            "swscale": "libswscale",
        },
    ),
    "libpng": ("libpng-dev", {"png": "libpng"}),
    "sdl2": ("libsdl2-dev", {"sdl2": "sdl2"}),
}

# buildifier: disable=unnamed-macro
def parley_demo_dependencies(optional = False, existing = ()):
    """Those of parley-thumb and the film example.

    Args:
      optional: where a package is missing, what needs it is not built, instead of an error.
      existing: names that are left alone. Asked for by the caller: a module extension has no such list.
    """
    for name, (debian_package, packages) in _DEMO_LIBRARIES.items():
        if name not in existing:
            system_pkg_config(
                name = name,
                debian_package = debian_package,
                optional = optional,
                packages = packages,
            )

# buildifier: disable=unnamed-macro
def parley_bench_dependencies():
    system_bench_competitors(name = "bench_competitors")

# buildifier: disable=unnamed-macro
def parley_test_dependencies():
    system_event_loops(name = "event_loops")
