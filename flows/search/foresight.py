"""What a chain's ONNX file will weigh and how long it will take, before anything of it is trained.

A recipe that has a finished form (`finish.of`) is searched for that one, else for the plain one. The recipe's own
code builds the last checkpoint's shape from the teacher, by its function `untrained`; it is exported and timed as
every model is. What a choice of heads and units will be is not known yet: so many are taken at random, and since a
layer's units are rounded up to a multiple, the trained file may differ by some kilobytes. Trials are judged by their
own.

A time is measured in turns with the teacher's and taken relative to it, and it is kept by the file's digest: the same
search again has the same times to decide by.
"""

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.encoders.measure import flops
from stillhouse.onnx.export import export_onnx
from stillhouse.onnx.latency import hardware
from tasks.evaluation.costs import latency_figures
from tasks.kinds.contract import Task
from tasks.links.chain import finished
from tasks.links.params import FinishParams, finished_recipes
from tasks.links.trimming import corpus_texts
from tasks.phases.recipe import load_recipe
from tasks.phases.run import Given
from tasks.stage.json_files import read_json, write_json
from tasks.stage.params import EvaluateParams, load


@dataclass(frozen=True)
class Costs:
    """Of one ONNX file: its bytes, p50 in milliseconds of the smallest batch, and floating point operations."""

    onnx_bytes: int
    ms: float
    flops: int


class Timer:
    """Times ONNX files against the teacher's.

    Args:
        teacher: folder of its model.onnx.
        params: what is measured; of the batches the smallest.
        vocabulary: of the teacher's tokenizer.
        pair: whether a model reads two texts.
        file: where times are kept.
    """

    def __init__(self, teacher: Path, params: EvaluateParams, vocabulary: int, pair: bool, file: Path) -> None:
        self.teacher = teacher
        self.batch = min(params.batch_sizes)
        self.params = params.model_copy(update={"batch_sizes": [self.batch]})
        self.vocabulary, self.pair, self.file = vocabulary, pair, file
        self.known: dict[str, float] = read_json(file, "remove it, and search again") if file.exists() else {}
        asked = f"{hardware()} {self.params.model_dump_json()} {pair}"
        self.conditions = hashlib.sha256(asked.encode()).hexdigest()

    def ms(self, folder: Path, vocabulary: int) -> float:
        """p50 of the file in a folder, as if all had been timed when the teacher was first."""
        file = folder / "model.onnx"
        key = hashlib.sha256(file.read_bytes() + self.conditions.encode()).hexdigest()
        if key not in self.known:
            smaller = min(vocabulary, self.vocabulary)
            folders = {"student": folder, "teacher": self.teacher}
            times = latency_figures(folders, self.params, smaller, self.pair)
            size = str(self.batch)
            reference = self.known.setdefault(self.conditions, times["teacher"][size]["p50_ms"])
            self.known[key] = round(reference / times["speedup"][size], 4)
            write_json(self.file, self.known)
        return self.known[key]


def searched(recipes: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the recipes whose shape is known before they are trained."""
    return tuple(slug for slug in recipes if hasattr(load_recipe(slug), "untrained"))


class Foresight:
    """Builds, exports and times shapes.

    Args:
        task: it is of.
        teacher: folder of the fine-tuned checkpoint.
        tokens: length of the inputs that FLOPs are counted on.
    """

    def __init__(self, task: Task, teacher: Path, tokens: int, timer: Timer) -> None:
        self.given = Given(task.train, task, load_tokenizer(teacher), task.kind.load(teacher), [teacher])
        self.tokens, self.timer = tokens, timer

    def costs(self, recipe: str, params: Path) -> Costs:
        """Of the recipe with the numbers of this params.yaml.

        Raises:
            InputError: the recipe refuses them.
        """
        untrained: Callable[..., Any] = load_recipe(recipe).untrained
        model, tokenizer = untrained(params, self.given, self.tokens)
        kind = self.given.kind
        if recipe in finished_recipes(params):
            finish = load("finish", FinishParams, params)
            task = self.given.task
            assert task is not None
            others = corpus_texts(Path(finish.corpus), task.folder)
            with redirect_stdout(StringIO()):  # what links say of themselves, they say when they run
                model, tokenizer = finished(finish.links(recipe), model, tokenizer, task, others) or (model, tokenizer)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            export_onnx(model.eval(), tokenizer, folder / "model.onnx", outputs=kind.outputs, per_token=kind.per_token)
            size = (folder / "model.onnx").stat().st_size
            return Costs(size, self.timer.ms(folder, len(tokenizer)), flops(model, self.tokens, kind.pair))
