# SPDX-License-Identifier: Apache-2.0
"""Instructions of a program, counted by valgrind's callgrind."""

import re
import subprocess


class Failed(Exception):
    """No count; the text says what to do."""


# What valgrind says -> what to do about it.
ADVICE = (
    (r"unrecognised instruction|Unrecognised instruction|SIGILL",
     "this valgrind does not know an instruction of the program: build without -march flags "
     "(user.bazelrc), or take a newer valgrind"),
    (r"[Ff]atal error at startup.*redirection|a function redirection",
     "the C library's symbols are missing: apt-get install libc6-dbg"),
    (r"[Pp]ermission denied|Operation not permitted",
     "something here forbids it (a container's filter, a mount without exec): run it outside"),
    (r"out of memory|failed in UME|mmap.* failed", "not enough memory for valgrind"),
)


def collected(returncode, stdout, stderr):
    """The count in what callgrind wrote. Failed: the program failed, or nothing was counted."""
    # The last: each process that ended says so, the program that matters after all others.
    counts = re.findall(r"Collected\s*:\s*(\d+)", stderr)
    if returncode == 0 and counts:
        return int(counts[-1])
    if returncode == 0:
        why = ("it counted nothing: valgrind lost the program, as it does at an exec without "
               "--trace-children=yes")
    else:
        ended = f"signal {-returncode}" if returncode < 0 else f"code {returncode}"
        why = f"the program ended with {ended} under callgrind"
    advice = [text for pattern, text in ADVICE if re.search(pattern, stderr, re.S)]
    said = "\n".join((stdout + stderr).strip().splitlines()[-12:])
    return fail(why, advice[0] if advice else "valgrind's last words:", said)


def fail(why, advice, said=""):
    raise Failed("\n".join(part for part in (f"callgrind: {why}", advice, said) if part))


def count(command):
    """The instructions of a command, which may be a script that execs the program."""
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                 "--trace-children=yes"]
    try:
        done = subprocess.run(callgrind + command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return fail("there is no valgrind", "apt-get install valgrind")
    return collected(done.returncode, done.stdout, done.stderr)
