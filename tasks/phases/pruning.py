"""What a pruning recipe works with: scores, the curve, the model before fine-tuning, and training on the way.

All of it survives a kill: what was found or trained is in the stage's workspace, and is not done again.
"""

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from transformers import PreTrainedModel

from stillhouse.encoders.checkpoint import load_model
from stillhouse.training import processes
from stillhouse.training.progress import Meter
from tasks.kinds.judging import Scorer
from tasks.phases.plan import Plan
from tasks.phases.run import Given, train_plan, train_student
from tasks.phases.teacher import teacher_source
from tasks.stage.json_files import read_json, write_json
from tasks.stage.params import TrainParams
from tasks.stage.sharing import share
from tasks.tracking.journal import StageRun

Subset = tuple[int, ...]  # indices from 0, rising

DAMAGED = "remove it and run the stage again"


class Bench:
    """One run of a pruning stage.

    Args:
        given: the task, and the model that is pruned as its teacher.
        train: how it trains.
        metric: what models are judged by.
        start: `teacher.model`.
        work: the stage's workspace.
    """

    def __init__(self, given: Given, train: TrainParams, metric: str, start: str, work: Path, run: StageRun) -> None:
        assert given.task is not None
        self.given = given
        self.train = train
        self.metric = metric
        self.source = start
        self.work = work
        self.run = run
        self.curve = Curve(work / "curve.json", metric, run)
        self.validation = self.scorer(given.task.validation)

    def scorer(self, rows: Dataset) -> Scorer:
        """What scores a model on labelled rows."""
        return Scorer(self.given.kind, rows, self.given.tokenizer, self.metric, self.train.eval_batch_size)

    def report(self, model: PreTrainedModel, share: float, moment: str) -> None:
        """Add the validation score of a model to the curve, unless it is there.

        Args:
            share: of its weights that are pruned.
            moment: before or after recovery.
        """
        if not self.curve.has(share, moment):
            self.curve.add(share, moment, self.validation(model)[0])

    def on_device(self, model: PreTrainedModel) -> PreTrainedModel:
        """The same model on the GPU, if there is one: for a model that is scored many times."""
        return model.to("cuda") if torch.cuda.is_available() else model  # type: ignore[arg-type]

    def start(self) -> PreTrainedModel:
        """The model before fine-tuning, with a new head."""
        return self.given.kind.start(teacher_source(self.source), seed=0)

    def trained(self, name: str, plan: Callable[[], Plan]) -> PreTrainedModel:
        """The student of a plan, trained, or as it was left by a run that was killed later on."""
        folder = self.work / name
        if not folder.exists():
            work = self.work / f"{name}-unfinished"
            train_student(plan(), self.given, self.train, work, self.run, folder)
            processes.wait()
            share(folder)
            shutil.rmtree(work, ignore_errors=True)
        return load_model(folder, self.given.kind.auto)

    def run_plan(self, plan: Plan) -> None:
        """Train what a plan says, in place; the recipe makes something of it."""
        train_plan(plan, self.given, self.train, self.work, self.run)

    def remembering(self, score: Callable[[Subset], Sequence[float]], most: int) -> Callable[[Subset], list[float]]:
        """The same scores of subsets, each asked for once even if the run is killed in between, and how far it is.

        Args:
            score: the more important number first.
            most: how many subsets can be asked for.
        """
        file = self.work / "subsets.json"
        known: dict[str, list[float]] = read_json(file, DAMAGED) if file.exists() else {}
        meter = Meter(most, len(known))

        def scored(subset: Subset) -> list[float]:
            name = " ".join(map(str, subset))
            if name not in known:
                known[name] = list(score(subset))
                write_json(file, known, indent=None)
                if meter.reached(len(known)):
                    best = max(known.values())[0]
                    meter.print(f"scored {len(known)} of at most {most} subsets  best {self.metric} {best:.4f}")
            return known[name]

        return scored


class Curve:
    """Scores at every share, kept in the workspace so that a resumed run has those from before it was killed."""

    def __init__(self, file: Path, metric: str, run: StageRun) -> None:
        self.file = file
        self.metric = metric
        self.run = run
        self.scores: dict[str, dict[str, float]] = read_json(file, DAMAGED) if file.exists() else {}

    def has(self, share: float, moment: str) -> bool:
        return moment in self.scores.get(f"{share:g}", {})

    def add(self, share: float, moment: str, score: float) -> None:
        print(f"{share:.0%} pruned: validation {self.metric} {score:.4f} {moment} recovery", flush=True)
        self.scores.setdefault(f"{share:g}", {})[moment] = score
        self.run.log_metrics({f"{self.metric}_{moment}_recovery": score}, step=round(share * 100))
        write_json(self.file, self.scores, indent=None)

    def write(self, out: Path) -> None:
        with out.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(["share", "before", "after"])
            for share in sorted(self.scores, key=float):
                rows.writerow([share, self.scores[share]["before"], self.scores[share]["after"]])
