# SPDX-License-Identifier: Apache-2.0
"""One static archive out of a library and all of Parley's libraries below it, for ./dev install."""

def _archive_impl(ctx):
    parts = []
    for dep in ctx.attr.deps:
        for linked in dep[CcInfo].linking_context.linker_inputs.to_list():
            if linked.owner.workspace_name:
                continue  # Abseil and libseccomp stay libraries of their own
            for library in linked.libraries:
                part = library.pic_static_library or library.static_library
                if part and part not in parts:
                    parts.append(part)
    left_out = [
        library.pic_static_library or library.static_library
        for dep in ctx.attr.without
        for linked in dep[CcInfo].linking_context.linker_inputs.to_list()
        for library in linked.libraries
    ]
    parts = [part for part in parts if part not in left_out]
    script = ctx.actions.declare_file(ctx.label.name + ".mri")
    ctx.actions.write(script, "\n".join(
        ["create " + ctx.outputs.archive.path] +
        ["addlib " + part.path for part in parts] +
        ["save", "end", ""],
    ))
    ctx.actions.run_shell(
        inputs = parts + [script],
        outputs = [ctx.outputs.archive],
        command = "ar -M <" + script.path,
        mnemonic = "MergeArchives",
    )

# `deps` and what they are made of, without what `without` has already.
archive = rule(
    implementation = _archive_impl,
    attrs = {
        "deps": attr.label_list(providers = [CcInfo]),
        "without": attr.label_list(providers = [CcInfo]),
    },
    outputs = {"archive": "lib%{name}.a"},
)
