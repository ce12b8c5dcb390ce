# SPDX-License-Identifier: Apache-2.0
"""The repositories that Parley needs, made from Debian's packages.

A consumer who already has the real ones (a registry's Abseil, say) defines them before calling
parley_dependencies(), and they are left alone.

    load("@parley//tools:deps.bzl", "offline_bazel_dependencies", "parley_dependencies")

    parley_dependencies()

    offline_bazel_dependencies()  # only for Debian's Bazel 4 without a network
"""

load("//tools:system_deps.bzl", "parley_bench_dependencies", "parley_demo_dependencies", "parley_test_dependencies")
load("//tools:system_repositories.bzl", "bazel_stubs", "libseccomp_repository", "rules_cc_shim", "system_absl", "system_googletest", "system_rules_java")

def _missing(name):
    return name not in native.existing_rules()

# buildifier: disable=unnamed-macro
def parley_dependencies():
    """Defines each library that the calling WORKSPACE has not defined itself.

    Nothing is looked for before something needs it: libav, libpng and SDL only for parley-thumb and examples, which
    are left out where they are missing.

    None of the repositories that Bazel defines for itself is touched. Besides these, the workspace
    needs @rules_cc.
    """
    if _missing("com_google_absl"):
        system_absl(name = "com_google_absl")
    if _missing("com_google_googletest"):
        system_googletest(name = "com_google_googletest")
    if _missing("libseccomp"):
        libseccomp_repository()

    # So that `bazel build @parley//...` builds what can be built here.
    parley_demo_dependencies(optional = True, existing = native.existing_rules())
    if _missing("bench_competitors"):
        parley_bench_dependencies()
    if _missing("event_loops"):
        parley_test_dependencies()

# buildifier: disable=unnamed-macro
def offline_bazel_dependencies():
    """Stands in for what Bazel 4 would download: for Debian's Bazel without a network, and only that.

    rules_cc is a shim over the native rules, the coverage tools are empty. A workspace that has, or
    may download, the real ones does not call this.
    """
    if _missing("rules_cc"):
        rules_cc_shim(name = "rules_cc")
    if _missing("rules_java"):
        system_rules_java(name = "rules_java")
    if _missing("remote_coverage_tools"):
        bazel_stubs(name = "remote_coverage_tools")
