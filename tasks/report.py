"""Compare evaluated models: `python -m tasks.report reports/evaluated/teacher reports/evaluated/hinton --out …`.

`--all reports/evaluated` stands for all folders in it, the teacher's first. A recipe whose student has a finished form
(`finish.of` in params.yaml) stands there in both, and a chain with
the models that it makes on its way. Writes report.md, report.png and report.html, one file for a
browser. The same inputs give the same bytes, so none holds a date. With `--data` that page quotes rows that a model
gets wrong and the teacher right, as many as `report` of params.yaml says.
"""

import argparse
from pathlib import Path

from tasks.exported.params import recipes_with_formats
from tasks.links.params import finished_recipes
from tasks.reports.comparison import evaluated_in, read_reports, with_finished, with_links
from tasks.reports.details import Quoted, read_details
from tasks.reports.page import page
from tasks.reports.params import ReportParams
from tasks.reports.picture import draw
from tasks.reports.web_page import web_page
from tasks.stage import program
from tasks.stage.outputs import fresh_file
from tasks.stage.params import PARAMS, load
from tasks.tracking.journal import stage_run

FILES = ("report.md", "report.png", "report.html")


def main() -> None:
    args = arguments()
    params = load("report", ReportParams, args.params) if args.data else None
    sources = [*args.reports, *([args.data] if args.data else [])]
    with stage_run("report", {"report": params} if params else {}, sources) as run:
        comparison = read_reports(
            with_finished(args.reports, finished_recipes(args.params)), recipes_with_formats(args.params)
        )
        details = read_details(comparison, Quoted(args.data, params) if params else None)
        args.out.mkdir(parents=True, exist_ok=True)
        with fresh_file(args.out / "report.png") as out:
            draw(comparison, out)
        with fresh_file(args.out / "report.md") as out:
            out.write_text(page(comparison, args.title), encoding="utf-8")
        with fresh_file(args.out / "report.html") as out:
            out.write_text(web_page(comparison, args.title, details), encoding="utf-8")
        print(f"{', '.join(str(args.out / name) for name in FILES)}: {len(comparison.models)} models", flush=True)
        for name in FILES:
            run.log_artifact(args.out / name)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.report", description=__doc__.split("\n")[0])
    parser.add_argument("reports", type=Path, nargs="*", help="folders that tasks.evaluate wrote, the teacher's too")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every folder in this one that tasks.evaluate wrote")
    parser.add_argument("--data", type=Path, help="the task: its rows that a model gets wrong are quoted")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.md, report.png and report.html")
    parser.add_argument("--params", type=Path, default=PARAMS)
    parser.add_argument("--title", default="What compression won and lost")
    args = parser.parse_args()
    if (args.all is None) == (not args.reports):
        parser.error("name the folders to compare, or give --all")
    # Of one recipe the models that its chain made on the way are shown, of all of them what each ends with.
    args.reports = with_links(args.reports) if args.all is None else evaluated_in(args.all)
    return args


if __name__ == "__main__":
    program.run(main)
