# SPDX-License-Identifier: Apache-2.0
"""For MODULE.bazel: libseccomp is in no registry, so it comes from the system there too."""

load("//tools:system_deps.bzl", "parley_bench_dependencies", "parley_demo_dependencies", "parley_test_dependencies")
load("//tools:system_repositories.bzl", "libseccomp_repository")

def _system_libraries_impl(_mctx):
    libseccomp_repository()
    parley_bench_dependencies()
    parley_demo_dependencies()
    parley_test_dependencies()

system_libraries = module_extension(implementation = _system_libraries_impl)
