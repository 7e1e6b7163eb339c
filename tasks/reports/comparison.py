"""Evaluated models of one task, and what compares them: read from the files that `tasks.evaluate` writes."""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from stillhouse.errors import InputError
from tasks.evaluation.forms import FINISHED, is_finished, shown_name
from tasks.exported.names import FORMATS_FILE
from tasks.stage.json_files import read_json

CurvePoints = Sequence[tuple[float, float, float]]  # share of weights pruned, score before recovery, score after

TEACHER = "teacher"
LINKS = "links"  # in a recipe's folder: the models of its chain before the last link
EVALUATE = "evaluate that model (dvc repro evaluate@NAME)"


@dataclass(frozen=True)
class Evaluated:
    """What `tasks.evaluate` wrote about one model, and the curve of a pruning recipe."""

    folder: Path
    figures: dict[str, Any]  # metrics.json
    times: dict[str, Any]  # latency.json
    curve: CurvePoints  # [] for most
    formats: dict[str, Any] | None = None  # formats.json, of a plain student that was written in others
    link: bool = False  # a model that a chain makes on its way

    @property
    def name(self) -> str:
        return shown_name(self.figures)

    @property
    def finished(self) -> bool:
        """Whether it is a recipe's student after its last links."""
        return is_finished(self.figures)

    @property
    def value(self) -> float:
        return self.figures["value"]


@dataclass(frozen=True)
class Comparison:
    """The teacher and its students, on the same task."""

    models: list[Evaluated]  # as given, a finished student after the plain one
    teacher: Evaluated
    metric: str
    small: str  # the smallest and the largest timed batch, as latency.json has them
    large: str

    def pairs(self) -> list[tuple[int, int]]:
        """The places among the models of each plain student and the finished one."""
        places = {model.figures["recipe"]: place for place, model in enumerate(self.models) if not model.finished}
        finished = [(model.figures["recipe"], place) for place, model in enumerate(self.models) if model.finished]
        return [(places[recipe], place) for recipe, place in finished if recipe in places]

    def way(self) -> list[int]:
        """The places of the teacher, the models that a chain makes on its way, and its end; [] without a chain."""
        links = [place for place, model in enumerate(self.models) if model.link]
        if not links:
            return []
        end = [place for place in range(links[-1] + 1, len(self.models)) if not self.models[place].finished]
        return [self.models.index(self.teacher), *links, *end[:1]]

    def smaller(self, model: Evaluated) -> float:
        """How many times the model's ONNX file goes into the teacher's."""
        return self.teacher.figures["onnx_bytes"] / model.figures["onnx_bytes"]

    def latency_ms(self, model: Evaluated) -> float:
        """p50 at the small batch, as if all models had been timed in one run.

        Models are timed minutes or days apart, each in turns with the teacher. So what is compared is the teacher's p50
        (its median over all those runs) divided by the speedup: how fast the machine was at the time cancels from it.
        """
        reference = median(other.times["teacher"][self.small]["p50_ms"] for other in self.models)
        return reference / model.times["speedup"][self.small]


def evaluated_in(folder: Path) -> list[Path]:
    """The folders of all evaluated models in one, the teacher's first, the others by their names.

    Raises:
        InputError: there is none.
    """
    found = sorted(file.parent for file in folder.glob("*/metrics.json"))
    if not found:
        raise InputError(f"'{folder}' holds no evaluated model: run dvc repro compare")
    return sorted(found, key=lambda each: each.name != TEACHER)


def with_finished(folders: Sequence[Path], recipes: Collection[str]) -> list[Path]:
    """The folders, and after those of these recipes that of the finished student, where it lies in them.

    One that lies in another recipe's is from before that recipe lost its finished form.
    """
    found = []
    for folder in folders:
        inside = folder / FINISHED
        found += [folder, inside] if folder.name in recipes and inside.is_dir() else [folder]
    return found


def with_links(folders: Sequence[Path]) -> list[Path]:
    """The folders, and before each one those of the models that its chain made on the way, the largest first."""
    found = []
    for folder in folders:
        links = [file.parent for file in (folder / LINKS).glob("*/metrics.json")]
        sizes = {link: read_json(link / "metrics.json", EVALUATE)["onnx_bytes"] for link in links}
        found += [*sorted(links, key=lambda link: (-sizes[link], link.name)), folder]
    return found


def read_reports(report_dirs: Sequence[Path], formats: Collection[str] = ()) -> Comparison:
    """Read the files of `tasks.evaluate`, and what `tasks.formats` wrote of these recipes.

    Raises:
        InputError: one is missing or damaged, the teacher is not among them, or they are not of the same task.
    """
    models = [
        Evaluated(
            folder,
            read_json(folder / "metrics.json", EVALUATE),
            read_json(folder / "latency.json", EVALUATE),
            _curve(folder),
            _formats(folder) if folder.name in formats else None,
            folder.parent.name == LINKS,
        )
        for folder in report_dirs
    ]
    teachers = [model for model in models if model.name == TEACHER]
    if len(teachers) != 1:
        raise InputError(f"{len(teachers)} of the reports are the teacher's: give reports/evaluated/{TEACHER} once")
    for key in ("kind", "split", "task_metric", "examples", "tokens"):
        found = {model.name: model.figures.get(key) for model in models}
        if len(set(found.values())) > 1:
            raise InputError(f"the reports differ in '{key}' ({found}): evaluate all of them again (dvc repro compare)")
    batches = sorted(set.intersection(*(set(model.times["batches"]) for model in models)), key=int)
    if not batches:
        raise InputError("the reports share no batch size: evaluate all of them again (dvc repro compare)")
    return Comparison(models, teachers[0], teachers[0].figures["task_metric"], batches[0], batches[-1])


def _curve(folder: Path) -> CurvePoints:
    """The curve of a recipe that has one; [] for the others."""
    file = folder / "curve.csv"
    return read_curve(file) if file.is_file() else []


def _formats(folder: Path) -> dict[str, Any] | None:
    """What `tasks.formats` wrote; None where it has not run."""
    file = folder / FORMATS_FILE
    return read_json(file, "run the stage again (dvc repro formats@NAME)") if file.is_file() else None


def read_curve(file: Path) -> CurvePoints:
    """Share of weights pruned, score before recovery, score after.

    Raises:
        InputError: there is no such file.
    """
    if not file.is_file():
        raise InputError(f"'{file}' is missing: run the stage that prunes first")
    with file.open(newline="", encoding="utf-8") as stream:
        return [(float(row["share"]), float(row["before"]), float(row["after"])) for row in csv.DictReader(stream)]
