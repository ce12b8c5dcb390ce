"""Stands in for rules_cc under Bazel 4.2.3: the native rules under the names that newer BUILD files load."""

cc_binary = native.cc_binary
cc_import = native.cc_import
cc_library = native.cc_library
cc_proto_library = native.cc_proto_library
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
objc_library = native.objc_library

def _stand_in_impl(_ctx):
    return [platform_common.TemplateVariableInfo({})]

cc_flags_supplier = rule(implementation = _stand_in_impl)
compiler_flag = rule(implementation = _stand_in_impl)
