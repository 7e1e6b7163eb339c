"""The picture of a report: metric against bytes, metric against latency, and what pruning did."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from tasks.reports.comparison import Comparison, CurvePoints
from tasks.reports.label_places import NEAR, place
from tasks.reports.pareto import pareto

# Okabe and Ito's colours, which colour-blind readers tell apart; shapes differ as well.
BLUE, VERMILION, GREY, INK = "#0072B2", "#D55E00", "#9A9A9A", "#222222"
POINT = 9.0  # radius of a point, in pixels at `DPI`
MARGIN = 4.0  # around a label, in pixels
DPI = 150
DOTS = (0, (2, 3))
ACROSS = 5  # entries of the legend in one line
PAIR = "pair"  # what a line between a plain student and the finished one is called
STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
}


def draw(comparison: Comparison, file: Path) -> None:
    """Write the picture as PNG."""
    curves = [model for model in comparison.models if model.curve]
    sizes = [model.figures["onnx_bytes"] / 1e6 for model in comparison.models]
    times = [comparison.latency_ms(model) for model in comparison.models]
    heights = [5.4 if comparison.pairs() else 5.0, *[3.6] * len(curves)]  # of two forms, the legend has two lines
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(12.8, sum(heights)), dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
        top, *rest = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        left, right = top.subplots(1, 2, sharey=True)
        _trade(left, comparison, sizes, f"{comparison.metric} against size", "ONNX file (MB, log scale)")
        latency = f"p50 latency at batch {comparison.small} (ms, log scale)"
        _trade(right, comparison, times, f"{comparison.metric} against latency", latency)
        left.set_ylabel(comparison.metric)
        shapes = _handles(comparison)
        top.legend(handles=shapes, loc="outside lower center", ncol=min(len(shapes), ACROSS), frameon=False)
        for part, model in zip(rest, curves, strict=True):
            _curve(part.subplots(), model.name, model.curve, comparison.metric, comparison.teacher.value)
        figure.draw_without_rendering()
        _label(left, comparison, sizes)
        _label(right, comparison, times)
        figure.savefig(file, format="png", metadata={"Software": None})
        plt.close(figure)


def draw_curve(name: str, curve: CurvePoints, metric: str, level: float, file: Path) -> None:
    """Write the picture of one pruning curve as PNG.

    Args:
        name: of the recipe.
        curve: share pruned, score before recovery, score after.
        metric: its name.
        level: the teacher's score.
    """
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9.6, 4.8), dpi=DPI, layout="constrained")
        _curve(axis, name, curve, metric, level)
        figure.savefig(file, format="png", metadata={"Software": None})
        plt.close(figure)


def _trade(axis: Axes, comparison: Comparison, costs: list[float], title: str, xlabel: str) -> None:
    values = [model.value for model in comparison.models]
    front = pareto(costs, values)
    axis.set_xscale("log")
    axis.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    room = max(max(values) - min(values), 0.02 * abs(max(values)), 1e-3)
    axis.set_ylim(min(values) - 0.2 * room, max(values) + 0.25 * room)
    axis.axhline(comparison.teacher.value, color=VERMILION, linewidth=1, linestyle=DOTS, zorder=1)
    # Steps: at a budget between two models, the cheaper one is what can be had.
    ends = [costs[i] for i in front] + [axis.get_xlim()[1]]
    heights = [values[i] for i in front] + [values[front[-1]]]
    axis.plot(
        ends, heights, drawstyle="steps-post", color=BLUE, linewidth=1.8, alpha=0.6, zorder=2, label="Pareto front"
    )
    for line in [*comparison.pairs(), *([way] if (way := comparison.way()) else [])]:
        axis.plot(
            [costs[i] for i in line],
            [values[i] for i in line],
            color=GREY,
            linewidth=0.8,
            alpha=0.7,
            zorder=2,
            gid=PAIR,
        )
    for i, model in enumerate(comparison.models):
        teacher, best = model is comparison.teacher, i in front
        axis.scatter(
            costs[i],
            values[i],
            s=190 if teacher else 70 if model.finished else 50 if model.link else 85,
            marker="*" if teacher else "D" if model.finished else "s" if model.link else "o" if best else "X",
            color=VERMILION if teacher else BLUE if best else GREY,
            edgecolor="white",
            linewidth=0.8,
            zorder=4,
        )
    axis.set_title(title, loc="left")
    axis.set_xlabel(xlabel)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) > 6 * min(costs) else range(1, 10)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _handles(comparison: Comparison) -> list[Line2D]:
    shapes = [("*", VERMILION, "teacher"), ("o", BLUE, "on the front"), ("X", GREY, "dominated")]
    if comparison.pairs():
        shapes += [("D", BLUE, "finished, on the front"), ("D", GREY, "finished, dominated")]
    if any(model.link for model in comparison.models):
        shapes += [("s", GREY, "on the way")]
    points = [Line2D([], [], marker=m, color=c, linestyle="none", markersize=9, label=text) for m, c, text in shapes]
    front = Line2D([], [], color=BLUE, linewidth=1.8, alpha=0.6, label="Pareto front")
    return [*points, front, Line2D([], [], color=VERMILION, linewidth=1, linestyle=DOTS, label="teacher's level")]


def _curve(axis: Axes, name: str, curve: CurvePoints, metric: str, level: float) -> None:
    shares = [100 * share for share, _, _ in curve]
    before = [value for _, value, _ in curve]
    after = [value for _, _, value in curve]
    axis.axhline(level, color=VERMILION, linewidth=1, linestyle=DOTS, label="teacher's level")
    axis.plot(shares, before, color=GREY, marker="s", linestyle="--", markersize=7, label="before recovery")
    axis.plot(shares, after, color=BLUE, marker="o", markersize=8, linewidth=2, label="after recovery")
    axis.set_title(f"{name}: {metric} at each share of pruned weights", loc="left")
    axis.set_xlabel("weights pruned (%)")
    axis.set_ylabel(metric)
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    axis.legend(loc="best", frameon=False)


def _label(axis: Axes, comparison: Comparison, costs: list[float]) -> None:
    """Name points: next to them where there is room, further off with a line where there is none."""
    values = [model.value for model in comparison.models]
    front = pareto(costs, values)
    named = _named(comparison, front)
    notes = [
        axis.annotate(
            comparison.models[i].figures["recipe"],  # the shape of its point says which form it is
            (costs[i], values[i]),
            xytext=(0, 0),
            textcoords="offset pixels",
            color=INK if i in front else "#6B6B6B",
            fontsize=11.5,
            zorder=5,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 5},
        )
        for i in named
    ]
    # A note's own extent includes its line.
    sizes = np.array([Text.get_window_extent(note).size for note in notes]) + MARGIN
    points = axis.transData.transform(list(zip(costs, values, strict=True)))
    nameless = [Bbox([points[i] - POINT, points[i] + POINT]) for i in range(len(points)) if i not in named]
    drawn = [piece for line in axis.lines if line.get_gid() != PAIR for piece in _segments(line)]
    taken = np.array([piece.extents for piece in [*drawn, *nameless]])
    points = points[named]
    boxes, distances = place(points, sizes, POINT, taken, np.array(axis.get_window_extent().extents))
    for note, point, box, distance in zip(notes, points, boxes, distances, strict=True):
        note.set_position(tuple(box[:2] + MARGIN / 2 - point))
        note.set_in_layout(False)  # else the labels would move the axes that they were placed in
        assert note.arrow_patch is not None
        note.arrow_patch.set_visible(distance > NEAR)


def _named(comparison: Comparison, front: Sequence[int]) -> list[int]:
    """The places of the models that are named: those on the front, on the way, or of another recipe and plain."""
    shown = {comparison.models[i].figures["recipe"] for i in front}
    return [
        i
        for i, model in enumerate(comparison.models)
        if i in front or not (model.finished or model.figures["recipe"] in shown)
    ]


def _segments(line: Line2D) -> list[Bbox]:
    """The level and upright pieces of a drawn line, in pixels."""
    points = list(line.get_transform().transform(line.get_path().vertices))
    if line.get_drawstyle() == "steps-post":
        corners = [(points[i + 1][0], points[i][1]) for i in range(len(points) - 1)]
        points = [point for pair in zip(points, [*corners, points[-1]], strict=True) for point in pair]
    return [Bbox([np.minimum(one, other), np.maximum(one, other)]).padded(1.5) for one, other in pairwise(points)]
