# SPDX-License-Identifier: Apache-2.0
"""Repositories that only Parley's own examples, tests and benchmark need."""

load("//tools:system_repositories.bzl", "system_bench_competitors", "system_event_loops", "system_pkg_config")

# buildifier: disable=unnamed-macro
def parley_demo_dependencies():
    system_pkg_config(
        name = "libav",
        debian_package = "libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libswresample-dev",
        packages = {
            "avcodec": "libavcodec",
            "avformat": "libavformat",
            "avutil": "libavutil",
            "swresample": "libswresample",
            "swscale": "libswscale",
        },
    )
    system_pkg_config(
        name = "libpng",
        debian_package = "libpng-dev",
        packages = {"png": "libpng"},
    )
    system_pkg_config(
        name = "sdl2",
        debian_package = "libsdl2-dev",
        packages = {"sdl2": "sdl2"},
    )

# buildifier: disable=unnamed-macro
def parley_bench_dependencies():
    system_bench_competitors(name = "bench_competitors")

# buildifier: disable=unnamed-macro
def parley_test_dependencies():
    system_event_loops(name = "event_loops")
