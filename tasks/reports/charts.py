"""The charts of a report as Vega-Lite's JSON: score against cost, other formats, what pruning did.

Of colours they hold the names alone, `theme:first`: the page has them, for light and for dark. Nothing in them is drawn
at random, so the same figures give the same chart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.evaluation.forms import FINISHED, PLAIN
from tasks.reports.comparison import Comparison, CurvePoints, Evaluated
from tasks.reports.pareto import pareto

Chart = dict[str, Any]
TEACHER, FRONT, DOMINATED = "teacher", "on the front", "dominated"
LINK = "on the way"
STAR = (
    "M0,-1L0.225,-0.309L0.951,-0.309L0.363,0.118L0.588,0.809L0,0.382L-0.588,0.809L-0.363,0.118L-0.951,-0.309"
    "L-0.225,-0.309Z"
)
SHAPES = {TEACHER: STAR, PLAIN: "circle", FINISHED: "diamond", LINK: "square"}
STATUSES = [FRONT, DOMINATED, TEACHER]  # in the order of the page's colours
ROOM = 1.6  # times around the costs on a log scale
HEIGHT = 380


def trade_charts(comparison: Comparison) -> dict[str, Chart]:
    """Score against size and against latency, by the name of the cost.

    A point can be filtered by `recipe` and `form`; the front is that of all models.
    """
    sizes = [model.figures["onnx_bytes"] / 1e6 for model in comparison.models]
    times = [comparison.latency_ms(model) for model in comparison.models]
    budget = asked(comparison)
    smaller = budget.get("smaller")
    limit = comparison.teacher.figures["onnx_bytes"] / 1e6 / smaller if smaller else None
    return {
        "size": _trade(comparison, sizes, "ONNX file (MB)", limit, budget.get("kept")),
        "latency": _trade(comparison, times, f"p50 latency at batch {comparison.small} (ms)", None, None),
    }


def asked(comparison: Comparison) -> dict[str, float | None]:
    """The budget that the models were held against; {} where there is none, or where it was not one and the same."""
    found = {
        (budget["smaller_asked"], budget["kept_asked"])
        for model in comparison.models
        if (budget := model.figures.get("budget")) and not model.link
    }
    if len(found) != 1:
        return {}
    return dict(zip(("smaller", "kept"), found.pop(), strict=True))


def has_budget(chart: Chart) -> bool:
    """Whether the budget's corner is drawn in a chart of score against cost."""
    return any(layer["mark"]["style"] == "budget" for layer in chart["spec"]["layer"])


def _trade(
    comparison: Comparison, costs: Sequence[float], title: str, limit: float | None, kept: float | None
) -> Chart:
    """
    Args:
        costs: of each model.
        title: what they are.
        limit: the cost that the budget allows.
        kept: the share of the teacher's score that it asks for.
    """
    values = [model.value for model in comparison.models]
    front = pareto(costs, values)
    teacher = comparison.teacher.value
    level = None if kept is None or limit is None else kept * teacher
    points = [
        _point(comparison, model, cost, place in front)
        for place, (model, cost) in enumerate(zip(comparison.models, costs, strict=True))
    ]
    scales = _scales([*costs, *([] if limit is None else [limit])])
    steps = [{"cost": costs[place], "value": values[place]} for place in front]
    # At a budget between two models the cheaper one is what can be had, up to the dearest there is.
    steps.append({"cost": max(costs), "value": values[front[-1]]})
    joined = [*comparison.pairs(), *([way] if (way := comparison.way()) else [])]
    lines = [
        {"cost": costs[place], "value": values[place], "line": number, "order": order}
        for number, line in enumerate(joined)
        for order, place in enumerate(line)
    ]
    heights = _heights([*values, *([] if level is None else [level])], comparison.metric)
    top = heights["scale"]["domain"][1]
    layers: list[Chart] = []
    if level is not None:
        layers.append(
            {
                # From far left of what is drawn to the limit, and up to the top; what lies outside is clipped.
                "data": {"values": [{"cost": min(costs) / 1e3, "limit": limit, "value": level, "top": top}]},
                "mark": {"type": "rect", "style": "budget", "color": "theme:budget", "clip": True},
                "encoding": {
                    **{"x2": {"field": "limit"}, "y2": {"field": "top"}},
                    "tooltip": {"value": f"the budget: at most {limit:.3g} MB, at least {level:.4g}"},
                },
            }
        )
    layers += [
        {
            "data": {"values": [{"value": teacher}]},
            "mark": {"type": "rule", "style": "level", "color": "theme:third", "strokeDash": [2, 3]},
            "encoding": {"x": None, "y": {"field": "value", "type": "quantitative"}},
        },
        {
            "data": {"values": lines},
            "mark": {"type": "line", "style": "pair", "color": "theme:second", "opacity": 0.6, "strokeWidth": 1},
            "encoding": {"detail": {"field": "line"}, "order": {"field": "order"}},
        },
        {
            "data": {"values": steps},
            "mark": {"type": "line", "style": "front", "color": "theme:first", "interpolate": "step-after"},
            "encoding": {"order": {"field": "cost"}},
        },
        {
            "transform": [_shown("recipe"), _shown("form")],
            "mark": {"type": "point", "style": "model", "filled": True, "opacity": 1},
            "encoding": {
                "color": {"field": "status", "type": "nominal", "scale": {"domain": STATUSES}, "legend": None},
                "shape": _shapes(points),
                "size": {"condition": {"test": f"datum.form == '{TEACHER}'", "value": 220}, "value": 110},
                "tooltip": [{"field": name, "type": "nominal"} for name in points[0] if name not in UNTOLD],
            },
        },
        {
            # Names of all models would cover each other; of those off the front the tooltip says it.
            "transform": [_shown("recipe"), _shown("form"), {"filter": "datum.named"}],
            "mark": {"type": "text", "style": "name", "color": "theme:ink", "align": "left", "dx": 9, "dy": -9},
            "encoding": {"text": {"field": "recipe", "type": "nominal"}},
        },
    ]
    return {
        "spec": {
            **_sized(),
            "data": {"values": points},
            "params": [
                {"name": f"shown_{name}", "value": sorted({point[name] for point in points})}
                for name in ("recipe", "form")
            ],
            "encoding": {
                "x": {"field": "cost", "type": "quantitative", "title": title, "scale": scales["log"]},
                "y": heights,
            },
            "layer": layers,
        },
        "scales": scales,
    }


UNTOLD = ("cost", "value", "recipe", "form", "status", "named")


def _point(comparison: Comparison, model: Evaluated, cost: float, best: bool) -> dict[str, Any]:
    """A model in the picture: what places it, what it is filtered by, and what is told of it."""
    figures = model.figures
    teacher = model is comparison.teacher
    form = TEACHER if teacher else LINK if model.link else FINISHED if model.finished else PLAIN
    return {
        "cost": cost,
        "value": model.value,
        "recipe": figures["recipe"],
        "form": form,
        "status": TEACHER if teacher else FRONT if best else DOMINATED,
        "named": best or teacher,
        "model": model.name,
        comparison.metric: f"{model.value:.4f}",
        "kept": f"{figures['kept']:.1%}",
        "parameters": f"{figures['parameters'] / 1e6:.2f} M",
        "ONNX file": f"{figures['onnx_bytes'] / 1e6:.1f} MB ({comparison.smaller(model):.2f}× smaller)",
        f"p50 at batch {comparison.small}": (
            f"{comparison.latency_ms(model):.2f} ms ({model.times['speedup'][comparison.small]:.2f}× as fast)"
        ),
        "front": "yes" if best else "no: another is as good and cheaper, or as cheap and better",
    }


def formats_chart(comparison: Comparison) -> Chart | None:
    """What other formats keep of the teacher's score on validation, against their size; None where there are none.

    A point can be filtered by `recipe`, `format` and `runtime`. Their front is not drawn: each runtime has its own.
    """
    points: list[dict[str, Any]] = [
        {
            "cost": made["bytes"] / 1e6,
            "value": row["kept"],
            "recipe": model.figures["recipe"],
            "format": form,
            "runtime": runtime,
            "model": model.name,
            f"{comparison.metric} of validation": f"{row['value']:.4f}",
            "kept": f"{row['kept']:.1%}",
            "described": row["described"],
            "ONNX file": f"{made['bytes'] / 1e6:.1f} MB",
            **{f"faster at batch {size}": f"{ratio:.2f}×" for size, ratio in row["speedup"].items()},
        }
        for model in comparison.models
        if model.formats
        for form, made in model.formats["formats"].items()
        for runtime, row in made["runtimes"].items()
    ]
    if not points:
        return None
    filters = ("recipe", "format", "runtime")
    scales = _scales([point["cost"] for point in points])
    return {
        "spec": {
            **_sized(),
            "data": {"values": points},
            "params": [
                {"name": f"shown_{name}", "value": sorted({point[name] for point in points})} for name in filters
            ],
            "transform": [_shown(name) for name in filters],
            "mark": {"type": "point", "style": "model", "filled": True, "opacity": 0.9, "size": 110},
            "encoding": {
                "x": {"field": "cost", "type": "quantitative", "title": "ONNX file (MB)", "scale": scales["log"]},
                "y": _heights([point["value"] for point in points], "kept, of validation"),
                "color": {"field": "format", "type": "nominal", "legend": BELOW},
                "shape": {"field": "runtime", "type": "nominal", "legend": BELOW},
                "tooltip": [
                    {"field": name, "type": "nominal"}
                    for name in ("model", "format", "runtime", *points[0])
                    if name not in ("cost", "value", "recipe")
                ],
            },
        },
        "scales": scales,
    }


def curve_chart(curve: CurvePoints, metric: str, level: float) -> Chart:
    """The score at each share of pruned weights, before recovery and after.

    Args:
        curve: share pruned, score before recovery, score after.
        metric: its name.
        level: the teacher's score.
    """
    points: list[dict[str, Any]] = [
        {"share": share, "value": value, "when": when}
        for share, before, after in curve
        for value, when in ((before, "before recovery"), (after, "after recovery"))
    ]
    values = [level, *(point["value"] for point in points)]
    return {
        "spec": {
            **_sized(),
            "encoding": {"y": _heights(values, metric)},
            "layer": [
                {
                    "data": {"values": [{"value": level}]},
                    "mark": {"type": "rule", "style": "level", "color": "theme:third", "strokeDash": [2, 3]},
                },
                {
                    "data": {"values": points},
                    "mark": {"type": "line", "point": {"size": 70}},
                    "encoding": {
                        "x": {
                            **{"field": "share", "type": "quantitative", "title": "weights pruned"},
                            "axis": {"format": ".0%", "values": [share for share, _, _ in curve]},
                            "scale": {"zero": False, "padding": 16},
                        },
                        "color": {
                            **{"field": "when", "type": "nominal", "legend": BELOW},
                            "scale": {"domain": ["after recovery", "before recovery"]},
                        },
                        "tooltip": [
                            {"field": "when", "type": "nominal", "title": metric},
                            {"field": "share", "type": "quantitative", "format": ".0%", "title": "pruned"},
                            {"field": "value", "type": "quantitative", "format": ".4f"},
                        ],
                    },
                },
            ],
        },
        "scales": {},
    }


BELOW = {"orient": "bottom", "title": None, "columns": 2}


def _sized() -> Chart:
    schema = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, which nothing fetches
    return {"$schema": schema, "width": "container", "height": HEIGHT, "background": "transparent"}


def _shown(name: str) -> dict[str, str]:
    return {"filter": f"indexof(shown_{name}, datum.{name}) >= 0"}


def _shapes(points: Sequence[Mapping[str, Any]]) -> Chart:
    there = {point["form"] for point in points}
    shapes = {form: shape for form, shape in SHAPES.items() if form in there}
    scale = {"domain": list(shapes), "range": list(shapes.values())}
    return {"field": "form", "type": "nominal", "scale": scale, "legend": None}


def _scales(costs: Sequence[float]) -> dict[str, Chart]:
    """Both that a page may show costs on."""
    least, most = min(costs), max(costs)
    return {
        "log": {"type": "log", "domain": [least / ROOM, most * ROOM], "nice": False},
        "linear": {"type": "linear", "domain": [0, most * 1.1], "nice": False},
    }


def _heights(values: Sequence[float], title: str) -> Chart:
    least, most = min(values), max(values)
    room = max(most - least, 0.02 * abs(most), 1e-3)
    scale = {"domain": [least - 0.1 * room, most + 0.15 * room], "nice": False, "zero": False}
    return {"field": "value", "type": "quantitative", "title": title, "scale": scale}
