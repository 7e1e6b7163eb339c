"""The teacher: `python -m tasks.finetune --data data/task --out models/teacher --route models/teacher-route`.

Fine-tunes `teacher.model` on the task, keeps checkpoints of its route, scores it, and refuses one below the floor: a
student of a bad teacher costs GPU hours and shows nothing. With `--seed` it is one of several teachers, which differ in
nothing else: `--seed 2 --out models/ensemble/second`.
"""

import argparse
import shutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, RootModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.encoders.fits import check_fit
from stillhouse.errors import InputError
from stillhouse.training import processes
from tasks.kinds.find import load_task
from tasks.kinds.judging import Scorer
from tasks.phases.plan import Plan, run_phase
from tasks.phases.teacher import TeacherParams, teacher_source
from tasks.stage import launch
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, Block, EvaluateParams, TrainParams, load, read_yaml
from tasks.stage.workspace import clear, workspace
from tasks.tracking.journal import stage_run


class Member(Block):
    """One of several teachers."""

    seed: int = Field(ge=0, description="In place of teacher.phase.seed")


class EnsembleParams(RootModel[dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], Member]]):
    """`ensemble`: several teachers by name, a stage each; dvc.yaml hands their seeds over."""


def main() -> None:
    args = arguments()
    params = load("teacher", TeacherParams, args.params)
    if args.seed is not None:
        load("ensemble", EnsembleParams, args.params)  # for its errors: a name is a folder's
        params = with_seed(params, args.seed)
    train = load("train", TrainParams, args.params)
    metric = load("evaluate", EvaluateParams, args.params).metric
    task = load_task(args.data, args.params)
    kind = task.kind
    kind.check_metric(metric)
    blocks = {"teacher": params, "train": train, "evaluate": {"metric": metric}, "kinds": {kind.name: kind.numbers}}
    with stage_run("finetune", blocks, [args.data]) as run:
        # Two of an ensemble may have one seed, and run side by side.
        numbers = [params, train, metric, kind.numbers]
        work = workspace(f"{args.out.parent.name}-{args.out.name}", [args.data], numbers)
        source = teacher_source(params.model)
        tokenizer = load_tokenizer(source)
        model = kind.start(source, params.phase.seed if params.phase else None)
        longest, key = kind.longest(read_yaml(args.params))
        check_fit(params.model, model.config, tokenizer, {key: longest}, kind.pair)
        route = Route(model, tokenizer, params.route if params.phase and args.route else 0, work / "route")
        plan = Plan(model, model, kind.hard, params.phase, callbacks=[route])
        result = run_phase(plan, kind.encode(task.train, tokenizer), tokenizer, train, work, run)
        score, _ = Scorer(kind, task.validation, tokenizer, metric, train.eval_batch_size)(model)
        print(f"{args.out.name}: validation {metric} {score:.4f} (floor {params.floor})", flush=True)
        run.log_metrics({metric: score} | ({"train_loss": result.loss} if result else {}))
        if score < params.floor:
            raise InputError(
                f"the teacher's {metric} is {score:.4f}, below teacher.floor = {params.floor}: "
                "train it longer, or lower the floor if that is as good as it gets"
            )
        if args.route:
            with fresh_dir(args.route) as out:
                route.move_to(out)
        with fresh_dir(args.out) as out:
            save_model(model, tokenizer, out)
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.finetune", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--out", type=Path, required=True, help="where the teacher goes")
    parser.add_argument("--route", type=Path, help="where its checkpoints go; default: none are kept")
    parser.add_argument("--seed", type=int, help="in place of teacher.phase.seed")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


def with_seed(params: TeacherParams, seed: int) -> TeacherParams:
    """The same teacher from another seed.

    Raises:
        InputError: it is not trained at all.
    """
    if params.phase is None:
        raise InputError(f"--seed {seed}, but teacher.phase = null: a model that is not trained has no seed to vary")
    return params.model_copy(update={"phase": params.phase.model_copy(update={"seed": seed})})


class Route(TrainerCallback):
    """Saves the model at evenly spaced steps of its training, the last one included.

    Args:
        model: what is trained.
        tokenizer: saved with it.
        count: how many checkpoints; 0 for none.
        folder: where they gather, kept when the stage is killed.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, folder: Path) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.count = count
        self.folder = folder

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        stops = {round((i + 1) * state.max_steps / self.count): i + 1 for i in range(self.count)}
        if state.global_step in stops:
            with fresh_dir(self.folder / f"{stops[state.global_step]:02d}") as out:
                save_model(self.model, self.tokenizer, out)

    def move_to(self, out: Path) -> None:
        """Move the checkpoints, named 01, 02, … in order, to `out`; of several processes, which share them, one."""
        if not processes.is_first():
            return
        for stop in sorted(self.folder.glob("[0-9]*")):
            shutil.move(stop, out / stop.name)


if __name__ == "__main__":
    launch.run(main)
