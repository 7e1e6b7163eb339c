"""Training throughput next to TextBrewer: the same student, teacher, sentences, batch size and losses, in one run.

    pip install --constraint constraints.txt textbrewer==0.2.1.post1
    python -m benchmarks.throughput --data sst2/train.tsv

Reference work: 1,600 sentences, batch 32, an all-MiniLM-L6 teacher, its layers 2, 4, 6 as the student; losses: soft
cross-entropy at T = 4, cross-entropy with the labels, squared error of the hidden states on 4 pairs and of the
attention on 3. The contenders take turns, and the medians of their rounds are compared, for timings here are noisy.
Before its clock runs, each trains on the first `--warmup` sentences, all of them by default: what a process loads and
builds once (modules that are imported late, the matrix library's kernels for each length of a batch) is no part of a
rate. `--warmup 0` counts it.

textbrewer-128     TextBrewer, padded to 128 tokens as in its examples
textbrewer         TextBrewer, each batch padded to its longest sentence
stillhouse         this project: `fit`, with length groups, captured scores, and bf16 where the hardware has it
"""

import argparse
import copy
import csv
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.rows import Rows
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.methods.hinton import distillation_loss
from stillhouse.methods.tinybert import TransformerDistillation, attention_loss, hidden_loss
from stillhouse.training.autocast import choose_precision
from stillhouse.training.batches import Batch, collator, model_inputs
from stillhouse.training.loop import fit
from stillhouse.training.losses import masked_mse
from stillhouse.training.seen_words import words_of
from stillhouse.training.step import Step

LAYERS = [2, 4, 6]
TEMPERATURE = 4.0
BATCH = 32


def main() -> None:
    args = arguments()
    wanted = args.only or list(CONTENDERS)
    rates: dict[str, list[float]] = {name: [] for name in wanted}
    lengths: list[int] = []
    for turn in range(args.rounds):
        for name in wanted:
            # A process each: what one contender sets for its process (threads, malloc) would help or hurt the next.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rate, lengths = pool.submit(
                    measure, name, args.teacher, args.data, args.sentences, args.warmup
                ).result()
            rates[name].append(rate)
            print(f"round {turn + 1}/{args.rounds}  {name:15} {rate:7.1f} samples/s", flush=True)
    report(rates, lengths, args.warmup, args.out)


def measure(name: str, teacher_folder: Path, data: Path, sentences: int, warmup: int) -> tuple[float, list[int]]:
    """Samples/s of one contender over one epoch, after one over the first `warmup`; the sentences' lengths."""
    logging.disable(logging.INFO)
    tokenizer = load_tokenizer(teacher_folder)
    teacher = load_model(teacher_folder, AutoModelForSequenceClassification, num_labels=2)
    rows = read_rows(data, tokenizer, sentences)
    if warmup:
        CONTENDERS[name](teacher, Rows(rows[:warmup]), tokenizer)
    seconds = CONTENDERS[name](teacher, rows, tokenizer)
    return len(rows) / seconds, rows["length"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="TSV with a header: text (or sentence) and label")
    parser.add_argument("--teacher", type=Path, default=None, help="checkpoint folder; default: the built-in teacher")
    parser.add_argument("--sentences", type=int, default=1600)
    parser.add_argument("--warmup", type=int, help="sentences before the clock runs; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="contenders to run; default: all")
    parser.add_argument("--out", type=Path, help="JSON file for the rates")
    args = parser.parse_args()
    if args.warmup is None:
        args.warmup = args.sentences
    if args.teacher is None:
        # Not at the top: with --teacher, this program needs torch and transformers alone.
        from tasks.phases.teacher import teacher_source

        args.teacher = Path(teacher_source("builtin"))
    return args


def read_rows(file: Path, tokenizer: PreTrainedTokenizerBase, count: int) -> Rows:
    """The first sentences of a TSV file, tokenized."""
    with file.open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))[:count]
    column = "text" if "text" in table[0] else "sentence"
    ids = tokenizer([row[column] for row in table], truncation=True, max_length=128)["input_ids"]
    return Rows(
        [{"input_ids": i, "label": int(row["label"]), "length": len(i)} for i, row in zip(ids, table, strict=True)]
    )


def stillhouse(teacher: PreTrainedModel, rows: Rows, tokenizer: PreTrainedTokenizerBase) -> float:
    """Seconds for one epoch of `fit`, its set-up included."""
    model, step = distillation(teacher)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit(
            model, step, rows, collator(tokenizer.pad_token_id), epochs=1, batch_size=BATCH, learning_rate=1e-4,
            seed=0, checkpoints=Path(folder), checkpoint_steps=10**6, words=words_of(rows, tokenizer.all_special_ids),
        )  # fmt: skip
        return time.perf_counter() - began


def distillation(teacher: PreTrainedModel) -> tuple[nn.Module, Step]:
    """What `fit` trains, and its step."""
    student = build_student(teacher, layers=3, source_layers=LAYERS, seed=0)
    frozen = FrozenTeacher(copy.deepcopy(teacher), 6, [n - 1 for n in LAYERS])
    model = TransformerDistillation(student, teacher.config.hidden_size, range(3), seed=0)
    # TextBrewer compares the states as they are, and so do we here: one width, nothing to project.
    model.hidden = model.embeddings = nn.Identity()

    def step(model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        inputs, mask = model_inputs(batch), batch["attention_mask"]
        theirs, ours = frozen(inputs), model(inputs)
        scores = [ours.scores[m] for m in range(3)], [theirs.scores[n - 1] for n in LAYERS]
        return {
            **distillation_loss(ours.logits, theirs.logits, batch["labels"], 0.5, TEMPERATURE),
            "hidden": hidden_loss(ours.hidden, [theirs.hidden[n] for n in LAYERS], mask),
            "embeddings": masked_mse(ours.embeddings, theirs.hidden[0], mask),
            "attention": attention_loss(*scores, mask),
        }

    return model, step


def textbrewer(
    teacher: PreTrainedModel, rows: Rows, tokenizer: PreTrainedTokenizerBase, pad_to: int | None = None
) -> float:
    """Seconds for one epoch of TextBrewer's GeneralDistiller, as its documentation sets it up."""
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    student = build_student(teacher, layers=3, source_layers=LAYERS, seed=0).to(device)
    theirs = copy.deepcopy(teacher).to(device)
    for model in (theirs, student):
        # Its attention loss reads attentions, which SDPA does not give.
        model.set_attn_implementation("eager")

    pad = tokenizer.pad_token_id

    def collate(batch: list[dict]) -> dict[str, torch.Tensor]:
        longest = pad_to or max(row["length"] for row in batch)
        return {
            "input_ids": torch.tensor([row["input_ids"] + [pad] * (longest - row["length"]) for row in batch]),
            "attention_mask": torch.tensor([[1] * row["length"] + [0] * (longest - row["length"]) for row in batch]),
            "labels": torch.tensor([row["label"] for row in batch]),
        }

    def adaptor(batch: dict, outputs) -> dict:
        return {
            "logits": outputs.logits,
            "losses": outputs.loss,
            "hidden": outputs.hidden_states,
            "attention": outputs.attentions,
            "inputs_mask": batch["attention_mask"],
        }

    pairs = list(zip(range(4), [0, *LAYERS], strict=True))
    matches = [{"layer_T": t, "layer_S": s, "feature": "hidden", "loss": "hidden_mse", "weight": 1} for s, t in pairs]
    matches += [
        {"layer_T": n - 1, "layer_S": m, "feature": "attention", "loss": "attention_mse", "weight": 1}
        for m, n in enumerate(LAYERS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        distiller = GeneralDistiller(
            TrainingConfig(device=device, output_dir=folder, log_dir=None),
            DistillationConfig(temperature=TEMPERATURE, hard_label_weight=1, intermediate_matches=matches),
            theirs, student, adaptor, adaptor,
        )  # fmt: skip
        loader = DataLoader(rows, batch_size=BATCH, shuffle=True, collate_fn=collate, drop_last=False)
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)
        wanted = {"output_hidden_states": True, "output_attentions": True}
        began = time.perf_counter()
        with distiller:
            distiller.train(optimizer, loader, num_epochs=1, callback=None, max_grad_norm=1.0, **wanted)
        return time.perf_counter() - began


CONTENDERS: dict[str, Callable[[PreTrainedModel, Rows, PreTrainedTokenizerBase], float]] = {
    "textbrewer-128": partial(textbrewer, pad_to=128),
    "textbrewer": textbrewer,
    "stillhouse": stillhouse,
}


def report(rates: dict[str, list[float]], lengths: list[int], warmup: int, out: Path | None) -> None:
    """Print medians and ratios; write them if asked."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    result = {
        "samples_per_second": medians,
        "rounds": rates,
        "sentences": len(lengths),
        "warmup": warmup,
        "mean_tokens": sum(lengths) / len(lengths),
        "precision": choose_precision("auto"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
    }
    print(json.dumps({k: v for k, v in result.items() if k != "rounds"}, indent=2))
    for name, median in medians.items():
        ratio = f"   stillhouse is {medians['stillhouse'] / median:.2f}x" if "stillhouse" in medians else ""
        print(f"{name:15} {median:7.1f} samples/s{ratio}")
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
