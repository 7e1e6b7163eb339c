"""The report as one page for a browser: Vega-Lite's charts, the tables of report.md, and each model by itself.

The file needs nothing but itself: the libraries that draw (Vega, Vega-Lite, Vega-Embed) stand in it once, from the
package vl-convert. A policy in its head forbids it any request, and any script but those two of which it names the
digests: whatever the data say is text. It holds no date, so the same figures give the same bytes.
"""

import base64
import hashlib
import json
from functools import cache
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from tasks.reports.charts import SHAPES, TEACHER, Chart, curve_chart, formats_chart, has_budget, trade_charts
from tasks.reports.comparison import Comparison
from tasks.reports.details import Details
from tasks.reports.page import sections, table
from tasks.reports.web_script import SCRIPT
from tasks.reports.web_style import STYLE
from tasks.reports.web_template import TEMPLATE

LIBRARY = "window.vegaEmbed = vegaEmbed;"  # what the bundle of the libraries gives the page
# How things are said of the two ends of a choice; the first is what a page opens with.
COSTS = {"size": "size", "latency": "latency"}
SCALES = {"log": "log", "linear": "linear"}


def web_page(comparison: Comparison, title: str, details: list[Details]) -> str:
    """The page.

    Args:
        title: its heading.
        details: of each model, in the table's order.
    """
    charts: dict[str, dict[str, Chart]] = {"trade": trade_charts(comparison)}
    if formats := formats_chart(comparison):
        charts["formats"] = {"size": formats}
    curves = {f"curve-{place}": model for place, model in enumerate(comparison.models) if model.curve}
    for name, model in curves.items():
        charts[name] = {"share": curve_chart(model.curve, comparison.metric, comparison.teacher.value)}
    library = _library()
    for script in (library, SCRIPT):
        assert "</script" not in script.lower(), "a script that ends its own element"
    return (
        _environment()
        .from_string(TEMPLATE)
        .render(
            title=title,
            policy=_policy(library, SCRIPT),
            style=Markup(STYLE),
            library=Markup(library),
            script=Markup(SCRIPT),
            charts=Markup(_data(charts)),
            filters={name: _filters(next(iter(variants.values()))) for name, variants in charts.items()},
            costs=COSTS,
            scales=SCALES,
            curves={name: model.name for name, model in curves.items()},
            formats="formats" in charts,
            links=any(model.link for model in comparison.models),
            finished=any(model.finished for model in comparison.models),
            budget=has_budget(charts["trade"]["size"]),
            figures=comparison.teacher.figures,
            comparison=comparison,
            table=_html(table(comparison)),
            sections=_html("\n\n".join(sections(comparison))),
            details=[each for each in details if each.scores or each.confusion or each.mistakes],
            teacher_scores=next((each.scores for each in details if each.name == comparison.teacher.name), {}),
        )
    )


@cache
def _library() -> str:
    """A second's work, and always the same."""
    return vl_convert.javascript_bundle(LIBRARY)


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _html(markdown: str) -> Markup:
    """Markdown as HTML; what looks like HTML in it is text. Tables may be wider than a phone, and scroll."""
    made = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return Markup(made.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>"))


def _data(tree: Any) -> str:
    """JSON that may stand in an element `script`: no character in it can end that."""
    text = json.dumps(tree, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(*scripts: str) -> str:
    """What a browser lets the page do: run these scripts, have a style, and nothing else."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _filters(chart: Chart) -> dict[str, list[str]]:
    """What the points of a chart can be filtered by, and the values there are; one alone is no choice."""
    params = {param["name"].removeprefix("shown_"): param["value"] for param in chart["spec"].get("params", [])}
    order = [*SHAPES]
    params = {
        name: sorted(values, key=lambda value: (order.index(value) if value in order else -1, value != TEACHER, value))
        for name, values in params.items()
    }
    return {name: values for name, values in params.items() if len(set(values) - {TEACHER}) > 1}
