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

def _missing(name):
    return name not in native.existing_rules()

# buildifier: disable=unnamed-macro
def parley_demo_dependencies(optional = False):
    """Those of parley-thumb and the film example that the calling WORKSPACE has not defined itself.

    Args:
      optional: where a package is missing, what needs it is not built, instead of an error.
    """
    for name, (debian_package, packages) in _DEMO_LIBRARIES.items():
        if _missing(name):
            system_pkg_config(
                name = name,
                debian_package = debian_package,
                optional = optional,
                packages = packages,
            )

# buildifier: disable=unnamed-macro
def parley_bench_dependencies():
    if _missing("bench_competitors"):
        system_bench_competitors(name = "bench_competitors")

# buildifier: disable=unnamed-macro
def parley_test_dependencies():
    if _missing("event_loops"):
        system_event_loops(name = "event_loops")
