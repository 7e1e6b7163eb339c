"""One task phase of a distillation recipe: `python -m tasks.task_distill hinton --data … --teacher … --out …`."""

import argparse
import importlib
from pathlib import Path

from transformers import AutoModel, AutoModelForSequenceClassification

from stillhouse.checkpoint import architecture, load_model, load_tokenizer, save_model
from stillhouse.labels import align_labels
from stillhouse.student import give_head
from tasks import program
from tasks.dataset import TaskData, load_split, load_task, tokenize
from tasks.logits import with_teacher_logits
from tasks.outputs import fresh_dir
from tasks.params import PARAMS, TrainParams, load
from tasks.tracking import stage_run
from tasks.training import check_vocabulary, run_phase
from tasks.workspace import clear, workspace


def main() -> None:
    args = arguments()
    recipe = importlib.import_module(f"tasks.recipes.{args.recipe.replace('-', '_')}")
    params = load(args.recipe, recipe.Params, args.params)
    train = load("train", TrainParams, args.params)
    reads = [path for path in (args.data, args.augmented, args.teacher, args.student) if path]
    with stage_run("task_distill", {args.recipe: params, "train": train}, reads) as run:
        work = workspace(f"{args.recipe}-{args.phase}", reads, [params, train])
        task = load_task(args.data)
        tokenizer = load_tokenizer(args.teacher)
        teacher = align(args.teacher, task)
        student = load_student(args.student, teacher, tokenizer, args.teacher) if args.student else None
        rows = load_split(args.augmented / "train.parquet") if args.augmented and params.augmented else task.train
        data = tokenize(rows, tokenizer, params.max_length)
        plan = getattr(recipe, args.phase)(params, teacher, student)
        if plan.teacher_logits and plan.phase:
            data = with_teacher_logits(data, teacher, args.teacher, tokenizer, train.eval_batch_size)
        result = run_phase(plan, data, tokenizer, train, work, run)
        with fresh_dir(args.out) as out:
            save_model(plan.student, tokenizer, out)
        if result:
            run.log_metrics({"train_loss": result.loss, "train_samples_per_second": result.samples_per_second})
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.task_distill", description=__doc__)
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--phase", default="distill", help="the recipe's function that plans this phase")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--augmented", type=Path, help="augmented training rows, used if the recipe says so")
    parser.add_argument("--teacher", type=Path, required=True, help="the fine-tuned teacher")
    parser.add_argument("--student", type=Path, help="the student of the phase before")
    parser.add_argument("--out", type=Path, required=True, help="where the student goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


def align(folder: Path, task: TaskData):
    """A checkpoint with the task's number of outputs, in the task's order of labels."""
    model = load_model(folder, AutoModelForSequenceClassification)
    return model if task.regression else align_labels(model, task.labels)


def load_student(folder: Path, teacher, tokenizer, teacher_folder: Path):
    """The student of the phase before; one that comes from general distillation gets its head here."""
    check_vocabulary(load_tokenizer(folder), tokenizer, folder, teacher_folder)
    if architecture(folder) == type(teacher).__name__:
        return load_model(folder, type(teacher))
    return give_head(load_model(folder, AutoModel), teacher, seed=0)


if __name__ == "__main__":
    program.run(main)
