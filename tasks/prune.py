"""A pruning recipe: `python -m tasks.prune prune-recover --data data/task --teacher models/teacher --out … --curve …`.

Writes the pruned model and, of the recipes that prune weights, the curve: the validation score at every share, before
and after recovery.
"""

import argparse
from pathlib import Path

from stillhouse.encoders.checkpoint import load_tokenizer
from tasks.kinds.find import load_task
from tasks.phases.pruning import Bench
from tasks.phases.recipe import load_phase
from tasks.phases.run import Given, train_student
from tasks.phases.teacher import TeacherParams
from tasks.stage import launch
from tasks.stage.outputs import fresh_file
from tasks.stage.params import PARAMS, EvaluateParams, TrainParams, load
from tasks.stage.workspace import clear, workspace
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    plan, params = load_phase(args.recipe, "prune", args.params)
    train = load("train", TrainParams, args.params)
    metric = load("evaluate", EvaluateParams, args.params).metric
    start = load("teacher", TeacherParams, args.params).model
    task = load_task(args.data, args.params)
    kind = task.kind
    kind.check_metric(metric)
    blocks = {f"{args.recipe}.prune": params, "train": train, "evaluate": {"metric": metric}}
    blocks["kinds"] = {kind.name: kind.numbers}
    with stage_run("prune", blocks, [args.data, args.teacher]) as run:
        work = workspace(args.recipe, [args.data, args.teacher], [params, train, metric, start, kind.numbers])
        tokenizer = load_tokenizer(args.teacher)
        given = Given(task.train, task, tokenizer, kind.load(args.teacher), [args.teacher])
        bench = Bench(given, train, metric, start, work, run)
        train_student(plan(params, given, bench), given, train, work, run, args.out)
        if args.curve:
            args.curve.parent.mkdir(parents=True, exist_ok=True)
            with fresh_file(args.curve) as out:
                bench.curve.write(out)
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.prune", description=__doc__)
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--teacher", type=Path, required=True, help="the model that is pruned, or that teaches")
    parser.add_argument("--out", type=Path, required=True, help="where the pruned model goes")
    parser.add_argument("--curve", type=Path, help="where the scores at every share go, CSV")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


if __name__ == "__main__":
    launch.run(main)
