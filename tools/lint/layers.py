# SPDX-License-Identifier: Apache-2.0
"""The layers of docs/DESIGN.md, section 10: an arrow only ever points down."""

# Folder -> height. A folder may use what is strictly below it, and itself.
HEIGHT = {
    "os": 0,
    "boundary": 1,
    "sealing": 1,
    "ring": 2,
    "shm": 2,
    "wait": 2,
    "handshake": 3,
    "channel": 4,
    "frames": 5,
    "media": 5,
    "patterns": 5,
    "sandbox": 5,
    "supervise": 6,
    "wait_set": 5,
}

# Above all layers; these may use each other, and no layer may use them.
TOP = {"av", "bench", "cli", "doctor", "endurance", "examples", "fuzz", "integrations", "tests", "thumb",
       "villain"}

# Helpers of tests: only a test or a testonly target may use them, from any height.
FOR_TESTS = {"testing"}

# Narrower than the height says: folder -> what it may use, a folder or one target of it.
ONLY = {
    # Frames and formats for libav; applications stand on it.
    "av": {"channel", "frames", "media", "os"},
    "ring": {"boundary", "os:check", "os:relax"},
    "wait": {"boundary", "os"},
    # What users of a channel need to test their own code, and nothing above it.
    "testing": {"boundary", "channel", "handshake", "os", "ring", "sealing", "shm", "wait"},
}

# External repository -> the folders that may name it.
EXTERNAL = {
    "bench_competitors": {"bench"},
    "event_loops": {"tests"},
    "libseccomp": {"sandbox"},
    "libav": {"av", "examples", "thumb"},
    "libpng": {"thumb"},
    "sdl2": {"examples"},
}


def refusal(user, used, target="", for_tests=False):
    """Why folder `user` may not use `target` of folder `used`; None if it may."""
    if user == used:
        return None
    for folder in (user, used):
        if folder not in HEIGHT and folder not in TOP | FOR_TESTS:
            return f"'{folder}' has no place in tools/lint/layers.py"
    if used in FOR_TESTS:
        return None if for_tests else f"{used} is for tests and testonly targets alone"
    if user in ONLY:
        if used in ONLY[user] or f"{used}:{target}" in ONLY[user]:
            return None
        return f"{user} may use only {', '.join(sorted(ONLY[user]))}, not {used}:{target}"
    if user in TOP:
        return None
    if used in TOP or HEIGHT[used] >= HEIGHT[user]:
        return f"{user} may not use {used}: arrows point down (docs/DESIGN.md, layers)"
    return None


def external_refusal(user, repository):
    allowed = EXTERNAL.get(repository)
    if allowed is None or user in allowed:
        return None
    return f"@{repository} is for {', '.join(sorted(allowed))} alone, not {user}"
