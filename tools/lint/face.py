# SPDX-License-Identifier: Apache-2.0
"""The public face: which targets users may name, which are restricted, and that all else is private."""

import os

import build_files
import layers

# Folder -> its public targets. A new one needs a line here, and a reason in review.
PUBLIC = {
    "boundary": "memory untrusted violation wire_type",
    "channel": "bulk channel options",
    "cli": "parley",
    "doctor": "parley_doctor",
    "frames": "frames",
    "handshake": "handshake identity listener peer_socket peer_trust",
    "media": "acceptance audio_port colour format frame incoming_stream pcm pixel_format turn",
    "os": "deadline pidfd unique_fd",
    "patterns/latest": "latest",
    "patterns/request": "request",
    "ring": "ring ring_types",
    "sandbox": "confine confinement_proof exit_report inherited profile sandbox spawn",
    "sealing": "file_registry sealed_blob",
    "shm": "broadcast sections shape",
    "supervise": "job_main link_template pool restart worker_end worker_link worker_main",
    "testing": "channel_pair heap_memory hostile_access hostile_peer libfuzzer replay_main scripted_memory",
    "thumb": "parley_thumb thumb_worker",
    "wait": "options signaller",
    "wait_set": "async_channel event_loop listener wait_set",
}
# What gives power over safety: never the whole house, each user is named.
RESTRICTED = {("channel", "hostile_access"), ("handshake", "peer_trust_maker")}

_ALL = "//visibility:public"
_HOUSE = "//:__subpackages__"
_PACKAGES = set(layers.HEIGHT) | {"cli", "doctor", "testing", "thumb"}
_CONSUMER = "examples/consumer/"


def _is_public(package, target):
    return target in PUBLIC.get(package, "").split()


def _label(label):
    package, _, target = label[len("@parley//") :].partition(":")
    return package, target or package.rpartition("/")[2]


def findings(tree):
    for path in tree.paths:
        if os.path.basename(path) != "BUILD.bazel":
            continue
        package = os.path.dirname(path)
        try:
            text = tree.read(path)
            rules, defaults = build_files.rules(text), build_files.default_visibility(text)
        except SyntaxError:
            continue  # lint.py says so
        if path.startswith(_CONSUMER):
            for rule in rules:
                for label in rule.strings("deps"):
                    if label.startswith("@parley//") and not _is_public(*_label(label)):
                        yield path, rule.line, f"{rule.name}: {label} is not public (tools/lint/face.py)"
            continue
        if package.split("/")[0] not in _PACKAGES:
            continue
        if _ALL in defaults:
            yield path, 1, "private by default: each public target opts in"
        for rule in rules:
            visibility = rule.strings("visibility") or defaults
            if (_ALL in visibility) != _is_public(package, rule.name):
                yield path, rule.line, f"{rule.name}: public here or in tools/lint/face.py, not in both"
            if (package, rule.name) in RESTRICTED and {_ALL, _HOUSE} & set(visibility):
                yield path, rule.line, f"{rule.name}: gives power over safety: name each user"
