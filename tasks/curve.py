"""The picture of a pruning curve: `python -m tasks.curve magnitude --curve … --teacher … --out …`."""

import argparse
from pathlib import Path

from tasks.reports.comparison import EVALUATE, read_curve
from tasks.reports.picture import draw_curve
from tasks.stage import program
from tasks.stage.json_files import read_json
from tasks.stage.outputs import fresh_file
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    with stage_run("curve", {}, [args.curve, args.teacher]) as run:
        figures, curve = read_json(args.teacher / "metrics.json", EVALUATE), read_curve(args.curve)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with fresh_file(args.out) as out:
            draw_curve(args.recipe, curve, figures["task_metric"], figures["value"], out)
        print(f"{args.out}: {len(curve)} shares", flush=True)
        run.log_artifact(args.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.curve", description=__doc__)
    parser.add_argument("recipe", help="its slug, for the title")
    parser.add_argument("--curve", type=Path, required=True, help="what tasks.prune wrote, CSV")
    parser.add_argument(
        "--teacher", type=Path, required=True, help="folder that tasks.evaluate wrote about the teacher"
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG")
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
