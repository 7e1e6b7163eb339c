"""What the paper checks share: a real task, a fine-tuned teacher, and variants that train the same and are told apart.

Everything is kept in a folder, so that a run that was stopped goes on where it was: teachers, their logits, and the
predictions of every variant. torch, transformers and `stillhouse` alone.

Shapes: N rows, C classes.
"""

import csv
import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, PreTrainedModel, TrainerCallback

from stillhouse.encoders.checkpoint import load_model, load_tokenizer, save_model, weight_files
from stillhouse.encoders.mlm_head import start_head
from stillhouse.training.batches import Batch, collator, model_inputs
from stillhouse.training.loop import fit
from stillhouse.training.masking import hide_tokens, masked_lm_loss
from stillhouse.training.outcomes import classify
from stillhouse.training.predict import predict


class Rows(list):
    """Tokenized rows, with the columns that `fit` asks for."""

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(self[0])

    def __getitem__(self, key: Any) -> Any:
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)

    def with_column(self, name: str, values: Iterable[Any]) -> "Rows":
        """The same rows with one more column."""
        values = values.tolist() if isinstance(values, np.ndarray) else values
        return Rows({**row, name: value} for row, value in zip(self, values, strict=True))


@dataclass(frozen=True)
class Numbers:
    """How every variant trains, so that they differ in nothing but what is compared."""

    epochs: float = 3
    batch_size: int = 32
    learning_rate: float = 1e-4


class Lab:
    """A task and its teacher.

    Args:
        data: folder with train.tsv and dev.tsv: a header with `text` (or `sentence`) and `label`.
        teacher: an encoder before fine-tuning.
        corpus: for methods that train on one: a text file, a paragraph a line, or corpus.parquet of data/corpus-pairs.
        work: where results are kept.
        limit: training rows.
        sentences: of the corpus.
    """

    def __init__(
        self, data: Path, teacher: Path, corpus: Path | None, work: Path, limit: int, sentences: int, numbers: Numbers
    ) -> None:
        self.source = teacher
        self.corpus_file = corpus
        self.sentences = sentences
        self.numbers = numbers
        self.tokenizer = load_tokenizer(teacher)
        self.train_texts, self.train_labels = read_table(data / "train.tsv", limit)
        self.texts, labels = read_table(data / "dev.tsv", None)
        self.truth = np.array(labels)
        # What was found with another teacher, corpus or version of the code is not found again.
        digest = hashlib.blake2b(repr((self.train_texts, self.texts, numbers, sentences)).encode(), digest_size=6)
        root = Path(__file__).parents[1]
        code = [path for folder in ("stillhouse", "benchmarks") for path in sorted((root / folder).rglob("*.py"))]
        for file in (*code, *weight_files(teacher), *([corpus] if corpus else [])):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "blake2b").digest())
        self.work = work / f"{data.name}-{digest.hexdigest()}"

    @cached_property
    def rows(self) -> Rows:
        """The training rows, tokenized."""
        return self.tokenize(self.train_texts, self.train_labels)

    @cached_property
    def validation(self) -> Rows:
        """The validation rows, tokenized."""
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
        folder = self.work / "mlm"
        if not (folder / "config.json").exists():
            rows = self.tokenize(self.corpus, None)
            torch.manual_seed(0)
            model = load_model(self.source, AutoModelForMaskedLM)
            ids = torch.tensor([i for row in rows["input_ids"] for i in row])
            start_head(model, torch.bincount(ids, minlength=len(self.tokenizer)).float())
            model.get_input_embeddings().requires_grad_(False)
            self.fit(model, self.masked_step, rows, epochs=1, learning_rate=5e-4, seed=1)
            self._save(model.requires_grad_(True), folder)
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
        """The predicted class of each validation row; `tokenizer` is a student's own."""
        rows = self.validation if tokenizer is None else self.tokenize(self.texts, None, tokenizer)
        return self.logits(model, rows, tokenizer).argmax(1).tolist()

    def outcome(self, name: str, make: Callable[[], list[int] | list[float]]) -> np.ndarray:
        """What `make` predicts for the validation rows, (N,): from the folder if it was made before."""
        file = self.work / f"{name}.json"
        if not file.exists():
            print(f"--- {name}", flush=True)
            self._write(file, make())
        return np.array(json.loads(file.read_text()))

    def kept(self, name: str, make: Callable[[], PreTrainedModel]) -> Path:
        """The checkpoint of what `make` trains: trained once."""
        folder = self.work / name
        if not (folder / "config.json").exists():
            print(f"--- {name}", flush=True)
            self._save(make(), folder)
        return folder

    def _route(self, seed: int) -> list[Path]:
        stops = [self.work / f"teacher-{seed}" / f"{quarter}" for quarter in (1, 2, 3, 4)]
        if not (stops[-1] / "config.json").exists():
            print(f"--- teacher, seed {seed}", flush=True)
            model = self.bare(seed)
            self.fit(model, classify, self.rows, seed=seed, callbacks=[_Stops(model, stops, self._save)])
        return stops

    def _save(self, model: PreTrainedModel, folder: Path) -> None:
        temporary = folder.with_name(f".{folder.name}")
        save_model(model, self.tokenizer, temporary)
        temporary.rename(folder)

    def _write(self, file: Path, value: Any) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".part")
        temporary.write_text(json.dumps(value))
        temporary.rename(file)


class _Stops(TrainerCallback):
    """Saves the model at each quarter of its training."""

    def __init__(self, model: PreTrainedModel, stops: list[Path], save: Callable) -> None:
        self.model, self.stops, self.save = model, stops, save

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for number, folder in enumerate(self.stops, start=1):
            if state.global_step == round(number * state.max_steps / len(self.stops)):
                self.save(self.model, folder)


def long_enough(sentence: str) -> bool:
    """Whether a sentence has the five words that one of the corpus has."""
    return len(sentence.split()) >= 5


def read_table(file: Path, limit: int | None) -> tuple[list[str], list[int]]:
    """Texts and labels of a TSV file; the first `limit` rows of a fixed shuffle."""
    with file.open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    column = "text" if "text" in table[0] else "sentence"
    order = np.random.default_rng(0).permutation(len(table))[:limit] if limit else range(len(table))
    return [table[i][column] for i in order], [int(table[i]["label"]) for i in order]


def hardware() -> str:
    """What the numbers were made on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{torch.get_num_threads()} threads, {names[0] if names else platform.machine()}"
