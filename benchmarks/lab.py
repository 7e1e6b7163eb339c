"""What the paper checks share: a real task, a fine-tuned teacher, and variants that train the same and are told apart.

Everything is kept in a folder, whole or not at all, so that a run that was killed goes on where it was, and several may
run beside each other: teachers, and the predictions of every variant. What was found with another teacher, corpus,
set-up or version of the code that a check runs is not found again. torch, transformers and `stillhouse` alone.

Shapes: N rows, C classes.
"""

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, PreTrainedModel, TrainerCallback

from benchmarks.held_out import Task
from benchmarks.rows import Rows
from benchmarks.set_up import SetUp
from stillhouse.encoders.checkpoint import load_model, load_tokenizer, save_model, weight_files
from stillhouse.encoders.mlm_head import start_head
from stillhouse.training.batches import Batch, collator, model_inputs
from stillhouse.training.loop import fit
from stillhouse.training.masking import hide_tokens, masked_lm_loss
from stillhouse.training.outcomes import classify
from stillhouse.training.predict import predict
from tasks.stage.modules import digest, modules_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("stillhouse", "benchmarks")


class Lab:
    """A task and its teacher.

    Args:
        task: what is trained and judged on.
        teacher: an encoder before fine-tuning.
        corpus: for methods that train on one: a text file, a paragraph a line, or corpus.parquet of data/corpus-pairs.
        work: where results are kept.
        set_up: how much of everything.

    Raises:
        SystemExit: the task has fewer rows than the set-up asks for.
    """

    def __init__(self, task: Task, teacher: Path, corpus: Path | None, work: Path, set_up: SetUp) -> None:
        most = max(set_up.rows, set_up.teacher_rows)
        if most > len(task.texts):
            raise SystemExit(f"error: {most} rows to train on, of {len(task.texts)}: lower --rows, or --test")
        self.task = task
        self.source = teacher
        self.corpus_file = corpus
        self.set_up = set_up
        self.sentences = set_up.sentences
        self.numbers = set_up.numbers
        self.tokenizer = load_tokenizer(teacher)
        self.train_texts, self.train_labels = task.texts[: set_up.rows], task.labels[: set_up.rows]
        self.texts = task.judged
        self.truth = np.array(task.truth)
        given = hashlib.blake2b(repr((task.texts, task.labels, task.judged)).encode(), digest_size=6)
        for file in (*weight_files(teacher), *([corpus] if corpus else [])):
            with file.open("rb") as stream:
                given.update(hashlib.file_digest(stream, "blake2b").digest())
        self.work = work / f"{task.name}-{given.hexdigest()}"

    @cached_property
    def rows(self) -> Rows:
        """The training rows, tokenized."""
        return self.tokenize(self.train_texts, self.train_labels)

    @cached_property
    def judged(self) -> Rows:
        """The rows that variants are judged on, tokenized."""
        return self.tokenize(self.texts, self.truth.tolist())

    def tokenize(self, texts: Sequence[str], labels: Sequence[int] | None, tokenizer: Any = None) -> Rows:
        """Rows of `input_ids`, `length` and, where there are labels, `label`."""
        ids = (tokenizer or self.tokenizer)(list(texts), truncation=True, max_length=64)["input_ids"]
        rows = Rows({"input_ids": row, "length": len(row)} for row in ids)
        return rows if labels is None else rows.with_column("label", labels)

    def tokenize_pairs(self, pairs: Sequence[tuple[str, str]]) -> Rows:
        """Rows of two segments, with the tokens of each as `first` and `second`."""
        coder: Any = self.tokenizer
        tokens = coder([one for one, _ in pairs], [other for _, other in pairs], truncation=True, max_length=64)
        rows = Rows()
        for row, (ids, types) in enumerate(zip(tokens["input_ids"], tokens["token_type_ids"], strict=True)):
            sides = tokens.sequence_ids(row)
            counts = {"first": sides.count(0), "second": sides.count(1)}
            rows.append({"input_ids": ids, "token_type_ids": types, "length": len(ids), **counts})
        return rows

    @cached_property
    def corpus(self) -> list[str]:
        """Sentences of the corpus, of at least five words.

        Raises:
            SystemExit: no corpus was given.
        """
        if self.corpus_file is not None and self.corpus_file.suffix == ".parquet":
            return [sentence for pair in self.pairs for sentence in pair]
        return [sentence for line in self._paragraphs() for sentence in line if long_enough(sentence)][: self.sentences]

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Sentences that follow each other in a paragraph: as many as make `sentences`, each in one pair.

        Raises:
            SystemExit: no corpus was given.
        """
        if self.corpus_file is not None and self.corpus_file.suffix == ".parquet":
            from pyarrow import parquet  # here, since text needs no such package

            rows = parquet.read_table(self.corpus_file).to_pylist()
            return [(row["text"], row["text_pair"]) for row in rows][: self.sentences // 2]
        # The full stop is what the sentences were cut at: only a paragraph's last one has it still.
        bare = ([sentence.removesuffix(" .") for sentence in line] for line in self._paragraphs())
        neighbours = (pair for line in bare for pair in zip(line[::2], line[1::2], strict=False))
        return [pair for pair in neighbours if all(map(long_enough, pair))][: self.sentences // 2]

    def _paragraphs(self) -> list[list[str]]:
        """The sentences of each line that is no heading."""
        if self.corpus_file is None:
            raise SystemExit("error: this method trains on a corpus: give --corpus FILE")
        lines = (line.strip() for line in self.corpus_file.read_text(encoding="utf-8").splitlines())
        return [[part.strip() for part in line.split(" . ")] for line in lines if not line.startswith("=")]

    def bare(self, seed: int = 0) -> PreTrainedModel:
        """The teacher before fine-tuning, with a new head."""
        torch.manual_seed(seed)
        return load_model(self.source, AutoModelForSequenceClassification, num_labels=int(self.truth.max()) + 1)

    def teacher(self, seed: int = 1) -> PreTrainedModel:
        """The fine-tuned teacher, trained once."""
        return load_model(self._route(seed)[-1], AutoModelForSequenceClassification)

    def route(self, seed: int = 1) -> list[PreTrainedModel]:
        """The teacher at each quarter of its training, the last one finished."""
        return [load_model(folder, AutoModelForSequenceClassification) for folder in self._route(seed)]

    def masked_lm(self) -> PreTrainedModel:
        """The teacher before fine-tuning with a masked-LM head fitted on the corpus, once."""

        def make() -> PreTrainedModel:
            print("--- masked LM", flush=True)
            rows = self.tokenize(self.corpus, None)
            torch.manual_seed(0)
            model = load_model(self.source, AutoModelForMaskedLM)
            ids = torch.tensor([i for row in rows["input_ids"] for i in row])
            start_head(model, torch.bincount(ids, minlength=len(self.tokenizer)).float())
            model.get_input_embeddings().requires_grad_(False)
            self.fit(model, self.masked_step, rows, epochs=1, learning_rate=5e-4, seed=1)
            return model.requires_grad_(True)

        folder = self.shared / f"mlm-{self.sentences}"
        self._made(folder, lambda place: save_model(make(), self.tokenizer, place))
        return load_model(folder, AutoModelForMaskedLM)

    def masked_step(self, model: nn.Module, batch: Batch) -> Tensor:
        """Masked language modelling with new masks for every batch."""
        coder = self.tokenizer
        inputs, ids, chosen = hide_tokens(
            model_inputs(batch), probability=0.15, mask_id=coder.mask_token_id,
            special_ids=coder.all_special_ids, vocabulary=len(coder),
        )  # fmt: skip
        return masked_lm_loss(model, inputs, ids, chosen)

    def logits(self, model: PreTrainedModel, rows: Rows, tokenizer: Any = None) -> np.ndarray:
        """(N, C) logits of a model."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return predict(model, rows, tokenizer or self.tokenizer, batch_size=64, device=device)

    def taught(self, rows: Rows | None = None, teacher: PreTrainedModel | None = None) -> Rows:
        """The rows with the column `teacher_logits`."""
        rows = self.rows if rows is None else rows
        return rows.with_column("teacher_logits", self.logits(teacher or self.teacher(), rows))

    def fit(
        self,
        model: nn.Module,
        step: Callable,
        rows: Rows,
        *,
        seed: int,
        callbacks: Sequence[TrainerCallback] = (),
        tokenizer: Any = None,
        **changes: Any,
    ) -> None:
        """Train in place with the numbers that all variants share; `changes` names those that are part of the claim."""
        numbers = {**vars(self.numbers), **changes}
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as checkpoints:
            self.last_fit = fit(
                model, step, rows, collator((tokenizer or self.tokenizer).pad_token_id), seed=seed,
                checkpoints=Path(checkpoints), checkpoint_steps=10**9, callbacks=callbacks, **numbers,
            )  # fmt: skip
        model.cpu().eval()

    def fine_tune(self, model: PreTrainedModel, seed: int, tokenizer: Any = None, **changes: Any) -> PreTrainedModel:
        """Train on the labels alone; `tokenizer` is a student's own."""
        rows = self.rows if tokenizer is None else self.tokenize(self.train_texts, self.train_labels, tokenizer)
        self.fit(model, classify, rows, seed=seed, tokenizer=tokenizer, **changes)
        return model

    def predictions(self, model: PreTrainedModel, tokenizer: Any = None) -> list[int]:
        """The predicted class of each judged row; `tokenizer` is a student's own."""
        rows = self.judged if tokenizer is None else self.tokenize(self.texts, None, tokenizer)
        return self.logits(model, rows, tokenizer).argmax(1).tolist()

    def outcome(self, name: str, make: Callable[[], list[int] | list[float]], wait: bool = True) -> np.ndarray:
        """What `make` predicts for the judged rows, (N,): from the folder if it was made before.

        Args:
            name: CHECK/VARIANT-SEED.
            wait: for another process that makes it.

        Raises:
            Timeout: another one makes it, and it is not waited for.
        """
        file = self.place(name)

        def write(part: Path) -> None:
            print(f"--- {name}", flush=True)
            part.write_text(json.dumps(make()))

        self._made(file, write, wait)
        return np.array(json.loads(file.read_text()))

    def has(self, name: str) -> bool:
        """Whether an outcome was made before."""
        return self.place(name).exists()

    def place(self, name: str) -> Path:
        """The file of an outcome: in its check's folder for this set-up and the code that the check runs."""
        slug, _, rest = name.partition("/")
        return self.work / f"{slug}-{code_digest(f'benchmarks.claims.{_module(slug)}', self.set_up)}" / f"{rest}.json"

    def kept(self, name: str, make: Callable[[], PreTrainedModel]) -> Path:
        """The checkpoint of what `make` trains: trained once."""

        def write(part: Path) -> None:
            print(f"--- {name}", flush=True)
            save_model(make(), self.tokenizer, part)

        folder = self.place(name).with_suffix("")
        self._made(folder, write)
        return folder

    @property
    def shared(self) -> Path:
        """Where teachers lie, and what else does not depend on the check."""
        return self.work / f"shared-{code_digest('benchmarks.lab')}"

    def _route(self, seed: int) -> list[Path]:
        """The checkpoints of a teacher at each quarter of its training."""
        count, numbers = self.set_up.teacher_rows, self.set_up.teacher
        stops = [f"{quarter}" for quarter in (1, 2, 3, 4)]

        def write(part: Path) -> None:
            print(f"--- teacher of {count} rows, seed {seed}", flush=True)
            rows = self.tokenize(self.task.texts[:count], self.task.labels[:count])
            model = self.bare(seed)
            stopped = _Stops([part / stop for stop in stops], lambda place: save_model(model, self.tokenizer, place))
            self.fit(model, classify, rows, seed=seed, callbacks=[stopped], **vars(numbers))

        how = f"{count}x{numbers.epochs:g}-{numbers.batch_size}-{numbers.learning_rate:g}"
        folder = self.shared / f"teacher-{how}-{seed}"
        self._made(folder, write)
        return [folder / stop for stop in stops]

    def _made(self, place: Path, write: Callable[[Path], Any], wait: bool = True) -> None:
        """Make a file or folder once, by one process at a time, so that it is whole if it is there."""
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        with FileLock(place.with_name(f".{place.name}.lock"), timeout=-1 if wait else 0):
            if place.exists():
                return
            if part.is_dir():
                shutil.rmtree(part)  # of a process that was killed
            write(part)
            part.rename(place)


class _Stops(TrainerCallback):
    """Saves the model at each of as many equal parts of its training."""

    def __init__(self, stops: list[Path], save: Callable[[Path], Any]) -> None:
        self.stops, self.save = stops, save

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for number, folder in enumerate(self.stops, start=1):
            if state.global_step == round(number * state.max_steps / len(self.stops)):
                self.save(folder)


@cache
def code_digest(module: str, set_up: SetUp | None = None) -> str:
    """Of all code of the project that a module runs, comments and docstrings left out; and of a set-up."""
    found = "".join(digest(ROOT / file) for file in modules_of(ROOT, module, PACKAGES))
    return hashlib.blake2b(f"{found} {set_up}".encode(), digest_size=6).hexdigest()


def _module(slug: str) -> str:
    return slug.replace("-", "_")


def long_enough(sentence: str) -> bool:
    """Whether a sentence has the five words that one of the corpus has."""
    return len(sentence.split()) >= 5


def hardware() -> str:
    """What the numbers were made on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{torch.get_num_threads()} threads, {names[0] if names else platform.machine()}"
