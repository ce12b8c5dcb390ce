# SPDX-License-Identifier: Apache-2.0
"""Repository rules that turn installed Debian packages into Bazel repositories, offline."""

# target -> (package in the real repository, pkg-config name). Only what Parley uses.
_ABSL = {
    "absl/base:core_headers": "absl_core_headers",
    "absl/flags:config": "absl_flags_config",
    "absl/flags:flag": "absl_flags",
    "absl/flags:parse": "absl_flags_parse",
    "absl/flags:usage": "absl_flags_usage",
    "absl/functional:function_ref": "absl_function_ref",
    "absl/status:status": "absl_status",
    "absl/status:statusor": "absl_statusor",
    "absl/strings:cord": "absl_cord",
    "absl/strings:str_format": "absl_str_format",
    "absl/strings:strings": "absl_strings",
    "absl/time:time": "absl_time",
    "absl/types:span": "absl_span",
}

def _missing(what, debian_package):
    fail("\n\n{} is missing. Install it first (./dev does it by itself):\n  apt-get install {}\n".format(
        what,
        debian_package,
    ))

def _flags(rctx, mode, package, debian_package):
    """What `pkg-config mode package` prints, in its order: a library comes before what it needs."""
    if not rctx.which("pkg-config"):
        _missing("pkg-config", "pkg-config " + debian_package)
    result = rctx.execute(["pkg-config", mode, package])
    if result.return_code != 0:
        _missing("the pkg-config file of '{}'".format(package), debian_package)
    return [f for f in result.stdout.strip().split(" ") if f]

def _library(name, linkopts, defines):
    return """cc_library(
    name = {name},
    defines = {defines},
    linkopts = {linkopts},
)
""".format(name = repr(name), linkopts = repr(linkopts), defines = repr(defines))

_HEADER = """load("@rules_cc//cc:defs.bzl", "cc_library")

package(default_visibility = ["//visibility:public"])

"""

def _write(rctx, packages):
    rctx.file("WORKSPACE", "")
    for path, text in packages.items():
        rctx.file((path + "/" if path else "") + "BUILD.bazel", _HEADER + text)

def _system_absl_impl(rctx):
    packages = {}
    for label, pc in _ABSL.items():
        path, name = label.split(":")
        packages[path] = packages.get(path, "") + _library(name, _flags(rctx, "--libs", pc, "libabsl-dev"), [])
    _write(rctx, packages)

system_absl = repository_rule(implementation = _system_absl_impl, local = True)

# A constraint that no platform has: `bazel build //...` leaves out what needs such a library.
_NOT_INSTALLED = """constraint_setting(name = "installed")

constraint_value(
    name = "not_installed",
    constraint_setting = ":installed",
)

"""

def _is_installed(rctx, package):
    return bool(rctx.which("pkg-config")) and rctx.execute(["pkg-config", "--exists", package]).return_code == 0

def _system_pkg_config_impl(rctx):
    if rctx.attr.optional and not all([_is_installed(rctx, pc) for pc in rctx.attr.packages.values()]):
        _write(rctx, {"": _NOT_INSTALLED + "".join([
            "cc_library(\n    name = {},\n    target_compatible_with = [\":not_installed\"],\n)\n".format(repr(name))
            for name in rctx.attr.packages
        ])})
        return
    text = ""
    for name, pc in rctx.attr.packages.items():
        cflags = _flags(rctx, "--cflags-only-other", pc, rctx.attr.debian_package)
        text += _library(
            name,
            _flags(rctx, "--libs", pc, rctx.attr.debian_package),
            [f[2:] for f in cflags if f.startswith("-D")],
        )
    _write(rctx, {"": text})

system_pkg_config = repository_rule(
    implementation = _system_pkg_config_impl,
    local = True,
    attrs = {
        "debian_package": attr.string(doc = "For the message when it is missing.", mandatory = True),
        "optional": attr.bool(doc = "Where it is missing, what needs it is not built, instead of an error."),
        "packages": attr.string_dict(doc = "Target -> pkg-config name.", mandatory = True),
    },
)

# buildifier: disable=unnamed-macro
def libseccomp_repository():
    system_pkg_config(
        name = "libseccomp",
        debian_package = "libseccomp-dev",
        packages = {"seccomp": "libseccomp"},
    )

# What the benchmark compares Parley with: target -> (a header, where headers are looked for, libraries).
_BENCH_PEERS = {
    "boost": ("boost/lockfree/spsc_queue.hpp", "/usr/include", []),
    "iceoryx": (
        "iceoryx_posh/runtime/posh_runtime.hpp",
        "/usr/include/iceoryx/v2.0.3",
        ["-liceoryx_posh", "-liceoryx_hoofs", "-liceoryx_platform"],
    ),
    "nng": ("nng/nng.h", "/usr/include", ["-lnng"]),
    "zeromq": ("zmq.h", "/usr/include", ["-lzmq"]),
}

def _system_bench_competitors_impl(rctx):
    """Libraries that may be missing: each target says so in a macro PARLEY_BENCH_HAVE_..."""
    text = ""
    for name, (header, folder, linkopts) in _BENCH_PEERS.items():
        found = rctx.path(folder + "/" + header).exists
        includes = []
        if found and folder != "/usr/include":
            rctx.symlink(folder, name)
            includes = [name]
        text += """cc_library(
    name = {name},
    hdrs = glob([{name} + "/**"]),
    defines = [{define}],
    includes = {includes},
    linkopts = {linkopts},
)
""".format(
            name = repr(name),
            define = repr("PARLEY_BENCH_HAVE_{}={}".format(name.upper(), 1 if found else 0)),
            includes = repr(includes),
            linkopts = repr(linkopts if found else []),
        )
    _write(rctx, {"": text})

system_bench_competitors = repository_rule(implementation = _system_bench_competitors_impl, local = True)

# Whose loops a WaitSet is tested in: target -> (a header, folders of headers below a root, libraries).
_EVENT_LOOPS = {
    "glib": ("glib-2.0/glib.h", "glib-2.0", ["-lglib-2.0"]),
    "libuv": ("uv.h", "", ["-luv"]),
}

def _system_event_loops_impl(rctx):
    """Libraries that may be missing: each target says so in a macro PARLEY_TESTS_HAVE_..."""
    text = ""
    for name, (header, folder, linkopts) in _EVENT_LOOPS.items():
        found = rctx.path("/usr/include/" + header).exists
        includes = []
        if found and not folder:
            # The header and, beside it, the folder of its parts.
            includes = [name]
            parts = header[:-len(".h")]
            rctx.symlink("/usr/include/" + header, name + "/" + header)
            if rctx.path("/usr/include/" + parts).exists:
                rctx.symlink("/usr/include/" + parts, name + "/" + parts)
        if found and folder:
            rctx.symlink("/usr/include/" + folder, name)
            includes = [name]

            # What depends on the architecture lies with the libraries.
            for root in rctx.path("/usr/lib").readdir():
                if root.get_child(folder).get_child("include").exists:
                    rctx.symlink(root.get_child(folder).get_child("include"), name + "-" + root.basename)
                    includes.append(name + "-" + root.basename)
        text += """cc_library(
    name = {name},
    hdrs = glob([i + "/**" for i in {includes}]),
    defines = [{define}],
    includes = {includes},
    linkopts = {linkopts},
)
""".format(
            name = repr(name),
            define = repr("PARLEY_TESTS_HAVE_{}={}".format(name.upper(), 1 if found else 0)),
            includes = repr(includes),
            linkopts = repr(linkopts if found else []),
        )
    _write(rctx, {"": text})

system_event_loops = repository_rule(implementation = _system_event_loops_impl, local = True)

def _system_googletest_impl(rctx):
    source = rctx.path("/usr/src/googletest")
    if not source.exists:
        _missing("GoogleTest's source", "googletest")
    for part in ["googletest", "googlemock"]:
        rctx.symlink("/usr/src/googletest/" + part, part)
    _write(rctx, {"": """cc_library(
    name = "gtest",
    testonly = True,
    srcs = [
        "googletest/src/gtest-all.cc",
        "googlemock/src/gmock-all.cc",
    ],
    hdrs = glob([
        "googletest/include/**/*.h",
        "googlemock/include/**/*.h",
        "googletest/src/*.h",
        "googletest/src/*.cc",
        "googlemock/src/*.cc",
    ], exclude = [
        "googletest/src/gtest-all.cc",
        "googlemock/src/gmock-all.cc",
    ]),
    copts = ["-w", "-Iexternal/com_google_googletest/googletest", "-Iexternal/com_google_googletest/googlemock"],
    includes = ["googletest/include", "googlemock/include"],
    linkopts = ["-pthread"],
)

cc_library(
    name = "gtest_main",
    testonly = True,
    srcs = ["googlemock/src/gmock_main.cc"],
    copts = ["-w"],
    deps = [":gtest"],
)
"""})

system_googletest = repository_rule(implementation = _system_googletest_impl, local = True)

def _system_rules_java_impl(rctx):
    source = rctx.path("/usr/share/bazel/rules/java")
    if not source.exists:
        _missing("Bazel's rules for Java, which it loads for itself,", "bazel-rules-java")
    for entry in source.readdir():
        rctx.symlink(entry, entry.basename)

system_rules_java = repository_rule(implementation = _system_rules_java_impl, local = True)

def _rules_cc_shim_impl(rctx):
    rctx.file("WORKSPACE", "")
    rctx.file("BUILD.bazel", "")
    rctx.file("cc/BUILD.bazel", "")
    rctx.template("cc/defs.bzl", Label("//third_party/rules_cc:defs.bzl.tpl"))

    # A global can't be exported under its own name, hence the file between.
    rctx.file("cc/common/BUILD.bazel", "")
    rctx.file("cc/common/native.bzl", "native_cc_common = cc_common\nnative_cc_info = CcInfo\n")
    for name, symbol in {"cc_common": "cc_common", "cc_info": "CcInfo"}.items():
        rctx.file("cc/common/{}.bzl".format(name), 'load(":native.bzl", "native_{}")\n\n{} = native_{}\n'.format(
            name,
            symbol,
            name,
        ))

rules_cc_shim = repository_rule(implementation = _rules_cc_shim_impl)

def _bazel_stubs_impl(rctx):
    rctx.file("WORKSPACE", "")
    rctx.file("BUILD.bazel", """package(default_visibility = ["//visibility:public"])

filegroup(name = "coverage_report_generator")

filegroup(name = "lcov_merger")
""")

bazel_stubs = repository_rule(implementation = _bazel_stubs_impl)
