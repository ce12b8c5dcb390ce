"""The repositories that Parley needs, made from Debian's packages.

A consumer who already has the real ones (a registry's Abseil, say) defines them before calling
parley_dependencies(), and they are left alone.
"""

load("//tools:system_repositories.bzl", "bazel_stubs", "libseccomp_repository", "rules_cc_shim", "system_absl", "system_googletest", "system_rules_java")

def _missing(name):
    return name not in native.existing_rules()

# buildifier: disable=unnamed-macro
def parley_dependencies():
    """Defines each repository that the calling WORKSPACE has not defined itself."""
    if _missing("rules_cc"):
        rules_cc_shim(name = "rules_cc")
    if _missing("rules_java"):
        system_rules_java(name = "rules_java")
    if _missing("remote_coverage_tools"):
        bazel_stubs(name = "remote_coverage_tools")
    if _missing("com_google_absl"):
        system_absl(name = "com_google_absl")
    if _missing("com_google_googletest"):
        system_googletest(name = "com_google_googletest")
    if _missing("libseccomp"):
        libseccomp_repository()
