# SPDX-License-Identifier: Apache-2.0
"""clang-tidy as a Bazel aspect: only what changed is looked at again.

    bazel build --config=tidy //...
"""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")
load("@rules_cc//cc/common:cc_common.bzl", "cc_common")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")

def _flags(ctx, toolchain, compilation_context):
    """The compiler's command line as Bazel would write it for this target, without the source."""
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features + ["layering_check", "module_maps"],
    )
    attr = ctx.rule.attr
    variables = cc_common.create_compile_variables(
        feature_configuration = features,
        cc_toolchain = toolchain,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts + attr.copts,
        include_directories = compilation_context.includes,
        quote_include_directories = compilation_context.quote_includes,
        system_include_directories = compilation_context.system_includes,
        preprocessor_defines = depset(attr.local_defines, transitive = [compilation_context.defines]),
    )
    return cc_common.get_memory_inefficient_command_line(
        feature_configuration = features,
        action_name = "c++-compile",
        variables = variables,
    )

def _clang_tidy_impl(target, ctx):
    if ctx.label.workspace_name or CcInfo not in target or not hasattr(ctx.rule.attr, "srcs"):
        return [OutputGroupInfo(tidy = depset())]
    compilation_context = target[CcInfo].compilation_context
    toolchain = find_cpp_toolchain(ctx)
    flags = _flags(ctx, toolchain, compilation_context)
    headers = depset(
        [f for s in ctx.rule.attr.srcs for f in s.files.to_list() if f.extension == "h"],
        transitive = [compilation_context.headers],
    )
    attr = ctx.rule.attr
    stamps = []
    for source in [f for s in ctx.rule.attr.srcs for f in s.files.to_list() if f.extension == "cc"]:
        stamp = ctx.actions.declare_file("{}.{}.tidy".format(ctx.label.name, source.basename))
        ctx.actions.run_shell(
            mnemonic = "ClangTidy",
            progress_message = "clang-tidy {}".format(source.short_path),
            inputs = depset([source, ctx.file._config], transitive = [headers, toolchain.all_files]),
            outputs = [stamp],
            use_default_shell_env = True,
            arguments = [
                stamp.path,
                "--quiet",
                "--config-file=" + ctx.file._config.path,
                # Following paths through GoogleTest's macros takes a minute for each test; and a
                # test that changes the environment or forks does it before it has threads; and one that
                # stands in for a function of the C library's can't use the names of its header.
                "--checks=" + ("-clang-analyzer-*,-concurrency-mt-unsafe,-readability-inconsistent-declaration-parameter-name" if attr.testonly or source.basename.endswith("_test.cc") else ""),
                source.path,
                "--",
            ] + flags,
            # The stamp doubles as the log, which only a failure shows.
            command = """stamp="$1"; shift
clang-tidy-19 "$@" >"$stamp" 2>&1 && exit 0
status=$?; cat "$stamp"; exit "$status"
""",
        )
        stamps.append(stamp)
    return [OutputGroupInfo(tidy = depset(stamps))]

clang_tidy = aspect(
    implementation = _clang_tidy_impl,
    attrs = {
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
        "_config": attr.label(default = "//:.clang-tidy", allow_single_file = True),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
