"""Compare evaluated models: `python -m tasks.report reports/evaluated/teacher reports/evaluated/hinton --out …`.

`--all reports/evaluated` stands for all folders in it, the teacher's first. A recipe whose student has a finished form
(`finish.of` in params.yaml) stands there in both, and a chain with
the models that it makes on its way. Writes report.md and report.png. The same inputs give the same bytes,
so neither holds a date.
"""

import argparse
from pathlib import Path

from tasks.exported.params import recipes_with_formats
from tasks.links.params import finished_recipes
from tasks.reports.comparison import evaluated_in, read_reports, with_finished, with_links
from tasks.reports.page import page
from tasks.reports.picture import draw
from tasks.stage import program
from tasks.stage.outputs import fresh_file
from tasks.stage.params import PARAMS
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    with stage_run("report", {}, args.reports) as run:
        comparison = read_reports(
            with_finished(args.reports, finished_recipes(args.params)), recipes_with_formats(args.params)
        )
        args.out.mkdir(parents=True, exist_ok=True)
        with fresh_file(args.out / "report.png") as out:
            draw(comparison, out)
        with fresh_file(args.out / "report.md") as out:
            out.write_text(page(comparison, args.title), encoding="utf-8")
        print(f"{args.out / 'report.md'}, {args.out / 'report.png'}: {len(comparison.models)} models", flush=True)
        for name in ("report.md", "report.png"):
            run.log_artifact(args.out / name)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.report", description=__doc__.split("\n")[0])
    parser.add_argument("reports", type=Path, nargs="*", help="folders that tasks.evaluate wrote, the teacher's too")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every folder in this one that tasks.evaluate wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.md and report.png")
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
