"""All trials of a search in a table and on one picture, with the Pareto fronts and the budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.search.budget import Budget


@dataclass(frozen=True)
class Point:
    """A trained chain: `whole` says whether it had all passes."""

    number: int
    chain: str
    whole: bool
    value: float
    kept: float
    onnx_bytes: int
    ms: float


def as_table(points: Sequence[Point], metric: str) -> str:
    """A Markdown table, the best first; of validation."""
    head = f"| trial | {metric} (validation) | kept | MB | p50 ms | passes | chain |\n|---|---|---|---|---|---|---|"
    rows = [
        f"| {each.number} | {each.value:.4f} | {each.kept:.1%} | {each.onnx_bytes / 1e6:.2f} | {each.ms:.2f} "
        f"| {'all' if each.whole else 'fewer'} | {each.chain} |"
        for each in sorted(points, key=lambda each: (not each.whole, -each.value, each.number))
    ]
    return "\n".join([head, *rows])


def draw(points: Sequence[Point], teacher: float, metric: str, budget: Budget, file: Path) -> None:
    """Write the picture as PNG: score against size and against latency, in the style of the reports.

    Args:
        teacher: its score.
    """
    # matplotlib takes a second to import, which nobody waits for who asks for help.
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from tasks.reports.pareto import pareto
    from tasks.reports.picture import BLUE, DOTS, DPI, GREY, STYLE, VERMILION

    sizes = [each.onnx_bytes / 1e6 for each in points]
    panels = (
        ("size", "ONNX file (MB, log scale)", sizes, None if budget.onnx_bytes is None else budget.onnx_bytes / 1e6),
        ("latency", "p50 latency (ms, log scale)", [each.ms for each in points], budget.ms),
    )
    values = [each.value for each in points]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, sharey=True, figsize=(12.8, 5.4), dpi=DPI, layout="constrained")
        for axis, (name, label, costs, limit) in zip(axes, panels, strict=True):
            front = pareto(costs, values)
            axis.set_xscale("log")
            axis.set_xlim(min([*costs, limit or costs[0]]) / 1.3, max([*costs, limit or costs[0]]) * 1.3)
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) > 6 * min(costs) else range(1, 10)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.axhline(teacher, color=VERMILION, linewidth=1, linestyle=DOTS)
            axis.plot(
                [costs[i] for i in front], [values[i] for i in front], drawstyle="steps-post", color=BLUE, alpha=0.6
            )
            if limit is not None:
                axis.axvline(limit, color=GREY, linestyle="--")
            if budget.kept is not None:
                axis.axhline(budget.kept * teacher, color=GREY, linestyle="--")
            for i, each in enumerate(points):
                best = i in front
                colour, marker = (BLUE, "o") if best else (GREY, "X")
                faces = colour if each.whole else "none"
                axis.scatter(costs[i], values[i], s=85, marker=marker, edgecolor=colour, facecolor=faces, zorder=4)
                axis.annotate(
                    str(each.number), (costs[i], values[i]), xytext=(6, 4), textcoords="offset points", fontsize=9
                )
            axis.set_title(f"{metric} (validation) against {name}", loc="left")
            axis.set_xlabel(label)
        axes[0].set_ylabel(metric)
        room = max(max([*values, teacher]) - min(values), 1e-3)
        axes[0].set_ylim(min(values) - 0.15 * room, max([*values, teacher]) + 0.15 * room)
        handles = [
            Line2D([], [], marker="o", color=BLUE, linestyle="none", markersize=9, label="on the front"),
            Line2D([], [], marker="X", color=GREY, linestyle="none", markersize=9, label="dominated"),
            Line2D(
                [], [], marker="o", color=BLUE, linestyle="none", markersize=9, fillstyle="none", label="fewer passes"
            ),
            Line2D([], [], color=VERMILION, linewidth=1, linestyle=DOTS, label="teacher's level"),
            Line2D([], [], color=GREY, linestyle="--", label="budget"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncol=5, frameon=False)
        figure.savefig(file, format="png", metadata={"Software": None})
        plt.close(figure)
