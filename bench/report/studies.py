# SPDX-License-Identifier: Apache-2.0
"""The studies that lie beside a run, each in a file of its own, and what is shown of them."""

import json
import os

import preset_plots
import presets
import safety
import scale
import waiting
from layout import TextTable

# Name -> its tables.
TABLES = {"presets": presets.tables, "scale": scale.tables, "safety": safety.tables,
          "waiting": waiting.tables}
# Name -> what lies in a file of its own beside it.
BESIDE = {"safety": "safety_instructions"}


def load(folder, names=tuple(TABLES)):
    """Name -> data of those that were made."""
    found = {}
    for name in [*names, *(BESIDE[name] for name in names if name in BESIDE)]:
        path = os.path.join(folder, f"{name}.json")
        # Empty while it is being measured.
        if os.path.exists(path) and os.path.getsize(path) > 0:
            with open(path, encoding="utf-8") as stream:
                found[name] = json.load(stream)
    return found


def _when(studies):
    lines = []
    for name in TABLES:
        machine = studies.get(name, {}).get("machine")
        if machine:
            lines.append([name, machine["date"], machine["processor"], machine.get("commit", "")])
    return TextTable("Studies beside the run", ["study", "date", "processor", "commit"], lines)


def tables(studies):
    made = [_when(studies)]
    for name in TABLES:
        if name not in studies:
            continue
        beside = [studies.get(BESIDE[name])] if name in BESIDE else []
        made += TABLES[name](studies[name], *beside)
    return [table for table in made if table.lines]


def scripts(studies):
    """For plots.draw_scripts."""
    if "presets" not in studies:
        return {}
    return {plot[0]: lambda *to, plot=plot: preset_plots.script(plot, studies["presets"], *to)
            for plot in preset_plots.PLOTS}
