"""A pruning recipe: `python -m tasks.prune prune-recover --data data/task --teacher models/teacher --out … --curve …`.

Writes the model at the last share, and the curve: the validation score at every share, before and after recovery.
"""

import argparse
import csv
import json
from pathlib import Path

from stillhouse.checkpoint import load_tokenizer
from tasks import program
from tasks.dataset import load_task
from tasks.outputs import fresh_file
from tasks.params import PARAMS, EvaluateParams, TrainParams, load
from tasks.phases import Given, load_recipe, load_teacher, train_student
from tasks.scoring import validation_score
from tasks.tracking import StageRun, stage_run
from tasks.workspace import clear, workspace


def main() -> None:
    args = arguments()
    recipe, params = load_recipe(args.recipe, args.params)
    train = load("train", TrainParams, args.params)
    metric = load("evaluate", EvaluateParams, args.params).metric
    blocks = {args.recipe: params, "train": train, "evaluate": {"metric": metric}}
    with stage_run("prune", blocks, [args.data, args.teacher]) as run:
        work = workspace(args.recipe, [args.data, args.teacher], [params, train, metric])
        task = load_task(args.data)
        tokenizer = load_tokenizer(args.teacher)
        teacher = load_teacher(args.teacher, task)
        given = Given(task.train, task, tokenizer, teacher, [args.teacher])
        curve = Curve(work / "curve.json", metric, run)

        def report(share: float, moment: str) -> None:
            score = validation_score(
                teacher, tokenizer, task, metric=metric, max_length=train.max_length, batch_size=train.eval_batch_size
            )
            curve.add(share, moment, score)

        train_student(recipe.prune(params, given, report), given, train, work, run, args.out)
        args.curve.parent.mkdir(parents=True, exist_ok=True)
        with fresh_file(args.curve) as out:
            curve.write(out)
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.prune", description=__doc__)
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--teacher", type=Path, required=True, help="the model that is pruned, and that teaches")
    parser.add_argument("--out", type=Path, required=True, help="where the pruned model goes")
    parser.add_argument("--curve", type=Path, required=True, help="where the scores at every share go, CSV")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


class Curve:
    """Scores at every share, kept in the workspace so that a resumed run has those from before it was killed."""

    def __init__(self, file: Path, metric: str, run: StageRun) -> None:
        self.file = file
        self.metric = metric
        self.run = run
        self.scores: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}

    def add(self, share: float, moment: str, score: float) -> None:
        print(f"{share:.0%} pruned: validation {self.metric} {score:.4f} {moment} recovery", flush=True)
        self.scores.setdefault(f"{share:g}", {})[moment] = score
        self.run.log_metrics({f"{self.metric}_{moment}_recovery": score}, step=round(share * 100))
        with fresh_file(self.file) as out:
            out.write_text(json.dumps(self.scores))

    def write(self, out: Path) -> None:
        with out.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(["share", "before", "after"])
            for share in sorted(self.scores, key=float):
                rows.writerow([share, self.scores[share]["before"], self.scores[share]["after"]])


if __name__ == "__main__":
    program.run(main)
