"""The first stage of a low-rank recipe: `python -m tasks.factorize lowrank --data … --teacher … --out …`.

Writes the factorized model, and says how it and the teacher score before any recovery. It takes seconds, so a killed
run starts again.
"""

import argparse
from pathlib import Path

import torch

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.encoders.measure import parameters
from tasks.kinds.find import load_task
from tasks.kinds.judging import Scorer
from tasks.phases.recipe import load_phase
from tasks.phases.run import Given
from tasks.stage import program
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, EvaluateParams, TrainParams, load
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    factorize, params = load_phase(args.recipe, "factorize", args.params)
    train = load("train", TrainParams, args.params)
    metric = load("evaluate", EvaluateParams, args.params).metric
    task = load_task(args.data, args.params)
    kind = task.kind
    kind.check_metric(metric)
    blocks = {f"{args.recipe}.factorize": params, "train": train, "evaluate": {"metric": metric}}
    blocks["kinds"] = {kind.name: kind.numbers}
    with stage_run("factorize", blocks, [args.data, args.teacher]) as run:
        tokenizer = load_tokenizer(args.teacher)
        teacher = kind.load(args.teacher).to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
        model = factorize(params, Given(task.train, task, tokenizer, teacher, [args.teacher]))
        scorer = Scorer(kind, task.validation, tokenizer, metric, train.eval_batch_size)
        scores = {name: scorer(each)[0] for name, each in (("teacher", teacher), ("before_recovery", model))}
        print(f"validation {metric}: {scores['before_recovery']:.4f} before recovery, teacher {scores['teacher']:.4f}")
        run.log_metrics({f"{metric}_{name}": score for name, score in scores.items()})
        run.log_metrics({"parameters": parameters(model), "teacher_parameters": parameters(teacher)})
        with fresh_dir(args.out) as out:
            save_model(model.cpu().eval(), tokenizer, out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.factorize", description=__doc__)
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--teacher", type=Path, required=True, help="fine-tuned checkpoint, whose matrices are cut")
    parser.add_argument("--out", type=Path, required=True, help="where the factorized model goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
