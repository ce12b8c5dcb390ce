# SPDX-License-Identifier: Apache-2.0
"""How many of our headers a user's header pulls in, and the bound that holds it there."""

import re

# Header -> the maximum of our headers that including it may bring, itself not counted.
MAX_PULLED_IN = {
    "channel/channel.h": 20,
    "handshake/options.h": 6,
}
_OURS = re.compile(r'^\s*#\s*include\s+"parley/([^"]+)"', re.MULTILINE)


def pulled_in(tree, header):
    """The paths of the tree's headers that `header` includes, directly or not."""
    known, found, open_ends = set(tree.paths), set(), [header]
    while open_ends:
        for path in _OURS.findall(tree.read(open_ends.pop())):
            if path in known and path != header and path not in found:
                found.add(path)
                open_ends.append(path)
    return found


def findings(tree):
    for header, maximum in sorted(MAX_PULLED_IN.items()):
        if header not in tree.paths:
            continue
        found = pulled_in(tree, header)
        if len(found) > maximum:
            names = ", ".join(sorted(found))
            yield header, 1, f"pulls in {len(found)} headers of ours; at most {maximum} may come: {names}"
