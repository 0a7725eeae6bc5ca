"""Draw the rows of a benchmark, a panel for each group of cases: FILE.json becomes FILE.svg.

Usage: plot.py FILE.json
"""
import json
import math
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "trainhost"  # the same file for the same rows
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
from matplotlib import pyplot

PRODUCT, PEER = "#1f77b4", "#9aa5ad"


def groups(rows):
    """{group: {side: median}}, the product's first."""
    found = {}
    for row in rows:
        group, side = row["case"].split("/")
        found.setdefault(group, {"trainhost": row["product"]})[side] = row["peer"]
    return found


def panel(axes, group, sides, unit):
    names, values = list(sides), list(sides.values())
    bars = axes.barh(names, values, color=[PRODUCT] + [PEER] * (len(names) - 1))
    axes.bar_label(bars, labels=[f" {value:,.3g}" if value < 1000 else f" {value:,.0f}" for value in values],
                   fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(10 ** math.floor(math.log10(min(values) / 2)), max(values) * 8)
    axes.invert_yaxis()
    axes.set_title(f"{group}, {unit}", loc="left", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def main():
    path = pathlib.Path(sys.argv[1])
    rows = json.loads(path.read_text())
    panels = groups(rows)
    heights = [len(sides) + 2 for sides in panels.values()]
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(8, 0.24 * sum(heights)), squeeze=False,
                                   height_ratios=heights, layout="constrained")
    for place, (group, sides) in zip(axes[:, 0], panels.items()):
        panel(place, group, sides, rows[0]["unit"])
    figure.supxlabel(f"medians, in turns in one run, logarithmic; {rows[0]['machine']}", fontsize=8)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


main()
