"""The page of all claims, and its forest plot, from their JSON files."""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.judging import DOES_NOT, HOLDS, UNKNOWN

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = {HOLDS: "#0072B2", DOES_NOT: "#D55E00", UNKNOWN: "#9A9A9A"}
POINTS = ("accuracy", "difference of accuracy", "recall of the class")  # measures that the plot has, in points

HEAD = """# What each method must show

Made by `python -m benchmarks.fidelity --page` from the JSON files beside it, and those by
`python -m benchmarks.fidelity SLUG… --data … [--corpus …] [--seeds …] [--jobs …]`. In brackets behind a variant is the
mean over seeds of what the last column names.
"""
SEVERAL = """## Several seeds, rows that nobody trained on

The difference has an interval of 90 % over seeds and rows together, so that where there is none, one relation in
twenty holds by chance; [`benchmarks/judging.py`](../../benchmarks/judging.py) says how it is made. All seeds of a claim
share one teacher: of another teacher nothing is said. Where a relation cannot be told, an effect of the size that is
named would have been seen in four of five tries. The paper's own difference is of its own task and models.
"""
ONE = """## One seed

Of an earlier check: one seed, judged on the validation split. The noise is 1.645 standard errors over rows alone, so
what another seed would have given is not in it.
"""


def write_page(folder: Path) -> Path:
    """The page beside the folder of JSON files, and its picture if there is something to draw."""
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    page, picture = folder.with_suffix(".md"), folder.with_suffix(".png")
    drawn = drawable(results)
    if drawn:
        draw(drawn, picture)
    remarks = {file.stem: file.read_text(encoding="utf-8").strip() for file in sorted(folder.glob("*.md"))}
    page.write_text(page_text(results, remarks, picture.name if drawn else None), encoding="utf-8")
    return page


def page_text(results: Sequence[dict], remarks: dict[str, str], picture: str | None) -> str:
    """The page.

    Args:
        results: what stands in the JSON files.
        remarks: by slug, what someone wrote.
        picture: the plot's file name.
    """
    several = [result for result in results if "set_up" in result]
    former = [result for result in results if "set_up" not in result]
    parts = [HEAD]
    if several:
        parts.append(SEVERAL)
        if picture:
            parts.append(f"![Differences with their intervals, and the papers' own]({picture})\n")
        parts += [_relations(several), *[f"**{slug}**: {text}\n" for slug, text in remarks.items()], _set_ups(several)]
    if former:
        parts += [ONE, _former(former)]
    return "\n".join(parts)


def drawable(results: Sequence[dict]) -> list[tuple[str, dict]]:
    """(slug, relation) of what is judged over seeds and measured in points."""
    chosen = [result for result in results if "set_up" in result and result["measure"] in POINTS]
    return [(result["slug"], relation) for result in chosen for relation in result["relations"]]


def draw(relations: Sequence[tuple[str, dict]], file: Path) -> None:
    """Write the forest plot as PNG: a line a relation, the difference, its interval, the paper's as a diamond."""
    with plt.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axis = plt.subplots(figsize=(10, 1.2 + 0.42 * len(relations)), dpi=150, layout="constrained")
        names = []
        for place, (slug, relation) in enumerate(relations):
            low, high = (100 * end for end in relation["interval"])
            colour = COLOURS[relation["verdict"]]
            axis.plot([low, high], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
            axis.plot(100 * relation["difference"], place, "o", color=colour, markersize=7)
            if relation["paper"] is not None:
                axis.plot(100 * relation["paper"], place, "D", color="#222222", markersize=6, markerfacecolor="none")
            between = "like" if relation["alike"] else "above"
            names.append(f"{slug}: {relation['better']} {between} {relation['worse']}")
        axis.axvline(0, color="#222222", linewidth=0.8)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlabel("difference in points; the bar is an interval of 90 % over seeds and rows")
        handles = [plt.Line2D([], [], color=colour, marker="o", label=verdict) for verdict, colour in COLOURS.items()]
        paper = plt.Line2D([], [], color="#222222", marker="D", markerfacecolor="none", linestyle="", label="the paper")
        figure.legend(handles=[*handles, paper], loc="outside lower center", ncol=4, frameon=False)
        figure.savefig(file, format="png", metadata={"Software": None})
        plt.close(figure)


def _relations(results: Sequence[dict]) -> str:
    lines = ["| method | the paper says | its own | here | verdict | measured |", f"|{'---|' * 6}"]
    for result in results:
        for relation in result["relations"]:
            own = "" if relation["paper"] is None else f"{relation['paper']:+.4g} ({relation['source']})"
            low, high = relation["interval"]
            here = f"{relation['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
            verdict = relation["verdict"]
            if verdict == UNKNOWN:
                verdict += f": {relation['would_be_seen']:.3f} would have been seen"
            says = f"{_says(result, relation)}{_margin(relation)}"
            lines.append(f"| `{result['slug']}` | {says} | {own} | {here} | {verdict} | {result['measure']} |")
    return "\n".join(lines) + "\n"


def _set_ups(results: Sequence[dict]) -> str:
    lines = ["| method | rows × passes, rate | teacher's | judged on | seeds | hardware | date |", f"|{'---|' * 7}"]
    for r in results:
        ours, theirs = (
            f"{r['set_up'][rows]} × {r['set_up'][numbers]['epochs']:g}, {r['set_up'][numbers]['learning_rate']:g}"
            for rows, numbers in (("rows", "numbers"), ("teacher_rows", "teacher"))
        )
        each = f"{ours} | {theirs} | {r['data']}: {r['judged']} | {len(r['seeds'])}"
        lines.append(f"| `{r['slug']}` | {each} | {r['hardware']} | {r['date']} |")
    return "\n".join(lines) + "\n"


def _former(results: Sequence[dict]) -> str:
    lines = ["| method | the paper says | difference | verdict | measured |", f"|{'---|' * 5}"]
    for result in results:
        for relation in result["relations"]:
            noise = f"{relation['difference']:+.3f} ± {relation['noise']:.3f}"
            says = f"{_says(result, relation)}{_margin(relation)}"
            lines.append(f"| `{result['slug']}` | {says} | {noise} | {relation['verdict']} | {result['measure']} |")
    lines += ["", "| method | data | rows × epochs | seeds | hardware | date |", f"|{'---|' * 6}"]
    for r in results:
        work = f"{r['data']} | {r['rows']} × {r['epochs']:g} | {len(r['seeds'])}"
        lines.append(f"| `{r['slug']}` | {work} | {r['hardware']} | {r['date']} |")
    return "\n".join(lines) + "\n"


def _says(result: dict, relation: dict) -> str:
    better, worse = (
        f"{relation[name]} ({result['variants'][relation[name]]['mean']:.3f})" for name in ("better", "worse")
    )
    return f"{better} {'like' if relation.get('alike') else 'above'} {worse}"


def _margin(relation: dict) -> str:
    margin = relation.get("margin")
    if not margin:
        return ""
    return f" within {margin:g}" if relation.get("alike") else f" less {margin:g}"
