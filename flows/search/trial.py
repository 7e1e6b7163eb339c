"""One chain on one rung: trained in a copy of the project, exported, and judged on validation."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.dag.graph import Stage, lineage, load_graph
from flows.dag.recipe_run import Parent, parent_run
from flows.registry.reports import MODELS, checkpoint_of, forms
from flows.search.changes import changed
from flows.search.foresight import Timer
from flows.search.halving import fewer_passes
from flows.search.study import Proposal
from flows.search.workspace import write_params
from stillhouse.encoders.checkpoint import load_tokenizer
from tasks.evaluate import kept
from tasks.evaluation.forms import FINISHED
from tasks.kinds.contract import Task
from tasks.kinds.judging import Scorer
from tasks.stage.params import PARAMS, TrainParams

RunStages = Callable[[Path, Sequence[Stage], dict[str, str]], object]


@dataclass(frozen=True)
class Result:
    """Of a trained chain: score on validation, share of the teacher's, and what its ONNX file weighs and takes."""

    value: float
    kept: float
    onnx_bytes: int
    ms: float


class Judge:
    """Scores checkpoints on validation, and never on test: what is chosen by is not what is reported.

    Args:
        teacher: folder of its checkpoint.
        metric: evaluate.metric.
    """

    def __init__(self, task: Task, train: TrainParams, metric: str, teacher: Path, timer: Timer) -> None:
        self.task, self.train, self.metric, self.timer = task, train, metric, timer
        self.teacher = self.score(teacher)
        self._alone = threading.Lock()  # times that are taken side by side would measure each other

    def score(self, checkpoint: Path) -> float:
        """The metric on validation."""
        kind, tokenizer = self.task.kind, load_tokenizer(checkpoint)
        scorer = Scorer(kind, self.task.validation, tokenizer, self.metric, self.train.eval_batch_size)
        return round(scorer(kind.load(checkpoint))[0], 6)

    def result(self, folder: Path, recipe: str) -> Result:
        """Of a recipe's model in a copy of the project: the finished form, where it has one."""
        finished = is_finished(recipe)
        checkpoint = folder / checkpoint_of(recipe, finished)
        onnx = folder / MODELS / "onnx" / (f"{FINISHED}/{recipe}" if finished else recipe)
        size = (onnx / "model.onnx").stat().st_size
        with self._alone:
            value = self.score(checkpoint)
            ms = self.timer.ms(onnx, len(load_tokenizer(checkpoint)))
        return Result(value, round(kept(value, self.teacher), 6), size, ms)


@dataclass(frozen=True)
class Runner:
    """Trains chains in copies of the project.

    Args:
        folders: of the copies; in each one chain at a time.
        tree: of the project's params.yaml.
        name: of the search.
        parent: the search's MLflow run.
        run_stages: the flow's.
    """

    folders: Sequence[Path]
    tree: dict[str, Any]
    name: str
    judge: Judge
    parent: Parent
    run_stages: RunStages

    def values(self, proposal: Proposal, share: float) -> dict[str, Any]:
        """What is laid over params.yaml for a share of the passes."""
        # Of a recipe that slices what another's gates chose, that one's phases too.
        blocks = [block for block in self.tree if block == proposal.recipe or f"{block}." in _starts(proposal.values)]
        return proposal.values | fewer_passes(changed(self.tree, proposal.values), blocks, share)

    def foreseen(self, proposal: Proposal) -> Path:
        """A params.yaml of a chain that no stage reads."""
        file = self.folders[0].parent / "foreseen.yaml"
        write_params(file, changed(self.tree, proposal.values))
        return file

    def prepare(self, proposal: Proposal, share: float, folder: Path) -> None:
        """Write a copy's params.yaml for a chain."""
        write_params(folder / PARAMS, changed(self.tree, self.values(proposal, share)))

    def train(self, proposal: Proposal, rung: int, share: float, folder: Path) -> Result:
        """Bring a chain's ONNX file up to date in a copy, and judge it.

        Raises:
            StagesFailed: at least one stage did not end well.
        """
        self.prepare(proposal, share, folder)
        tags = {"recipe": proposal.recipe, "search": self.name, "rung": str(rung)}
        if self.parent.run_id:
            tags["mlflow.parentRunId"] = self.parent.run_id
        with parent_run(f"trial {proposal.number}, rung {rung}", "trial", tags, self.logged(proposal, share)) as run:
            self.run_stages(folder, self.stages(self.exports(proposal), folder), self.environment(proposal, run))
            result = self.judge.result(folder, proposal.recipe)
            run.run.log_metrics(asdict(result))
        return result

    def exports(self, proposal: Proposal) -> str:
        """The stage that writes what a trial is judged by."""
        return f"export-finished@{proposal.recipe}" if is_finished(proposal.recipe) else f"export@{proposal.recipe}"

    def stages(self, target: str, folder: Path) -> tuple[Stage, ...]:
        """What is to be up to date for a target, by a copy's params.yaml as it is now."""
        return lineage(load_graph(folder), target)

    def environment(self, proposal: Proposal, run: Parent) -> dict[str, str]:
        """Variables of a trial's stages."""
        return run.environment | {"STILLHOUSE_RECIPE": proposal.recipe}

    def logged(self, proposal: Proposal, share: float) -> Mapping[str, Any]:
        """What MLflow shows of a trial."""
        return {"recipe": proposal.recipe, "passes": share} | self.values(proposal, share)


def is_finished(recipe: str) -> bool:
    """Whether a recipe's finished form is searched, and not the plain one."""
    return True in forms(recipe)


def _starts(values: Mapping[str, Any]) -> set[str]:
    return {f"{name.split('.')[0]}." for name in values}
