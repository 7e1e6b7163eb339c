"""General distillation on the corpus: `python -m tasks.general_distill tinybert --corpus data/corpus --out …`.

The teacher is `teacher.model`, before any fine-tuning. The student has no head: the task phases give it one.
"""

import argparse
import importlib
from pathlib import Path

from transformers import AutoModel

from stillhouse.checkpoint import load_model, load_tokenizer, save_model
from tasks import program
from tasks.dataset import load_split, tokenize
from tasks.models import TeacherParams, teacher_source
from tasks.outputs import fresh_dir
from tasks.params import PARAMS, TrainParams, load
from tasks.tracking import stage_run
from tasks.training import run_phase
from tasks.workspace import clear, workspace


def main() -> None:
    args = arguments()
    recipe = importlib.import_module(f"tasks.recipes.{args.recipe.replace('-', '_')}")
    params = load(args.recipe, recipe.Params, args.params)
    train = load("train", TrainParams, args.params)
    name = load("teacher", TeacherParams, args.params).model
    blocks = {args.recipe: params, "train": train, "teacher": {"model": name}}
    with stage_run("general_distill", blocks, [args.corpus]) as run:
        work = workspace(f"{args.recipe}-general", [args.corpus], [params, train, name])
        source = teacher_source(name)
        tokenizer = load_tokenizer(source)
        plan = recipe.general(params, load_model(source, AutoModel), None)
        data = tokenize(load_split(args.corpus / "corpus.parquet"), tokenizer, params.max_length)
        result = run_phase(plan, data, tokenizer, train, work, run)
        with fresh_dir(args.out) as out:
            save_model(plan.student, tokenizer, out)
        if result:
            run.log_metrics({"train_loss": result.loss, "train_samples_per_second": result.samples_per_second})
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.general_distill", description=__doc__)
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--corpus", type=Path, required=True, help="the text")
    parser.add_argument("--out", type=Path, required=True, help="where the student goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
