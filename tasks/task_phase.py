"""One task phase of a distillation recipe: `python -m tasks.task_phase hinton --data … --teacher … --out …`."""

import argparse
from pathlib import Path

from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import architecture, load_model, load_tokenizer
from stillhouse.encoders.student import give_head
from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.kinds.contract import Kind
from tasks.kinds.find import load_task
from tasks.phases.recipe import load_phase
from tasks.phases.run import Given, train_student
from tasks.phases.teacher import TeacherParams, teacher_source
from tasks.stage import launch
from tasks.stage.params import PARAMS, TrainParams, load
from tasks.stage.workspace import clear, workspace
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    plan, params = load_phase(args.recipe, args.phase, args.params)
    train = load("train", TrainParams, args.params)
    reads = [path for path in (args.data, args.rows, args.teacher, args.student) if path]
    task = load_task(args.data, args.params)
    kind = task.kind
    blocks = {f"{args.recipe}.{args.phase}": params, "train": train, "kinds": {kind.name: kind.numbers}}
    with stage_run("task_phase", blocks, reads) as run:
        name = None if args.teacher else load("teacher", TeacherParams, args.params).model
        work = workspace(f"{args.recipe}-{args.phase}", reads, [params, train, name or "", kind.numbers])
        teachers = checkpoints(args.teacher) if args.teacher else []
        source = teachers[-1] if name is None else teacher_source(name)
        teacher = kind.load(teachers[-1]) if name is None else kind.start(source, seed=0)
        tokenizer = load_tokenizer(source)
        student, student_tokenizer = load_student(args.student, teacher, kind) if args.student else (None, None)
        rows = load_split(args.rows) if args.rows else task.train
        given = Given(rows, task, tokenizer, teacher, teachers, student, student_tokenizer)
        train_student(plan(params, given), given, train, work, run, args.out)
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.task_phase", description=__doc__)
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--phase", default="distill", help="the recipe's function that plans it, and its block")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--rows", type=Path, help="a Parquet file to train on; default: the task's training split")
    parser.add_argument(
        "--teacher", type=Path, help="fine-tuned checkpoint, or a folder of several; default: teacher.model"
    )
    parser.add_argument("--student", type=Path, help="the student of the phase before")
    parser.add_argument("--out", type=Path, required=True, help="where the student goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


def checkpoints(folder: Path) -> list[Path]:
    """The folder itself, or the checkpoints in it, in order: a route of one teacher, or several teachers.

    Raises:
        InputError: it is neither.
    """
    if (folder / "config.json").is_file() or not folder.is_dir():
        return [folder]
    found = sorted(path.parent for path in folder.glob("*/config.json"))
    if not found:
        raise InputError(f"'{folder}' holds no checkpoint: run the stage that makes it, or raise teacher.route")
    return found


def load_student(folder: Path, teacher: PreTrainedModel, kind: Kind) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The student of the phase before, in the task's order of labels; an encoder gets a new head here.

    Raises:
        InputError: it has the head of another kind of task.
    """
    tokenizer, name = load_tokenizer(folder), architecture(folder)
    if name.endswith(kind.head):
        return kind.load(folder), tokenizer
    if not name.endswith(("Model", "ForMaskedLM", "ForPreTraining")):
        raise InputError(f"'{folder}' is a {name}: give a model …{kind.head}, or an encoder")
    return give_head(load_model(folder, AutoModel), teacher, seed=0), tokenizer


if __name__ == "__main__":
    launch.run(main)
