"""A masked-LM head for the un-fine-tuned teacher: `python -m tasks.fit_mlm --corpus data/corpus --out models/mlm`.

Augmentation asks a masked LM for candidates. A teacher that comes with a trained head is copied as it is; a sentence
encoder, say, has lost its own, and gets one fitted on the corpus: dense and LayerNorm before a decoder that is tied to
the input embeddings. Scored on a held-out twentieth of the sentences, before and after.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_model, load_tokenizer, save_model
from stillhouse.encoders.fits import check_fit
from stillhouse.encoders.mlm_head import has_mlm_head, start_head
from stillhouse.errors import InputError
from stillhouse.training.batches import Batch, collate, model_inputs
from stillhouse.training.masking import hide_tokens, logits_at, maskable, masked_lm_loss
from tasks.data.dataset import load_split, tokenize
from tasks.phases.plan import Plan, run_phase
from tasks.phases.teacher import TeacherParams, teacher_source
from tasks.stage import launch
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, Block, Phase, TrainParams, load
from tasks.stage.workspace import clear, workspace
from tasks.tracking.journal import StageRun, stage_run

HELD_OUT = 20  # one sentence of so many is scored, not learnt
SCORED = 0.15  # share of its tokens that are hidden then, whatever mlm.mask is: figures stay comparable


class MlmParams(Block):
    """`mlm` in params.yaml."""

    sentences: int | None = Field(ge=HELD_OUT, description="Sentences of the corpus, drawn at random; null for all")
    encoder: Literal["trained", "frozen"] = Field(description="Whether the layers under the head learn with it")
    mask: float = Field(gt=0, lt=1, description="Share of the tokens that are predicted")
    max_length: int = Field(gt=2, description="Tokens; longer sentences are cut")
    phase: Phase


def main() -> None:
    args = arguments()
    params = load("mlm", MlmParams, args.params)
    train = load("train", TrainParams, args.params)
    name = load("teacher", TeacherParams, args.params).model
    blocks = {"mlm": params, "train": train, "teacher": {"model": name}}
    with stage_run("fit_mlm", blocks, [args.corpus]) as run:
        work = workspace("mlm", [args.corpus], [params, train, name])
        source = teacher_source(name)
        tokenizer = load_tokenizer(source)
        if tokenizer.mask_token_id is None:
            raise InputError(f"teacher.model = '{name}': its tokenizer has no mask token: not a masked-LM encoder")
        model = load_model(source, AutoModelForMaskedLM)
        check_fit(name, model.config, tokenizer, {"mlm.max_length": params.max_length})
        if has_mlm_head(source):
            print(f"{name}: comes with a masked-LM head, copied as it is", flush=True)
        else:
            fit_head(model, tokenizer, read_corpus(args.corpus, tokenizer, params), params, train, work, run)
        with fresh_dir(args.out) as out:
            save_model(model, tokenizer, out)
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.fit_mlm", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="the text")
    parser.add_argument("--out", type=Path, required=True, help="where the masked LM goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


def read_corpus(folder: Path, tokenizer: PreTrainedTokenizerBase, params: MlmParams) -> Dataset:
    """The drawn sentences, tokenized, in random order.

    Raises:
        InputError: fewer than HELD_OUT.
    """
    data = load_split(folder / "corpus.parquet").shuffle(seed=params.phase.seed)
    data = data.select(range(min(len(data), params.sentences or len(data))))
    if len(data) < HELD_OUT:
        raise InputError(f"'{folder}' has {len(data)} sentences, a masked-LM head needs {HELD_OUT}: raise its limit")
    return tokenize(data, tokenizer, params.max_length)


def fit_head(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: Dataset,
    params: MlmParams,
    train: TrainParams,
    work: Path,
    run: StageRun,
) -> None:
    """Train the head, and the layers under it if so asked, in place; print and log the accuracy on held-out text."""
    held_out, rest = data.select(range(len(data) // HELD_OUT)), data.select(range(len(data) // HELD_OUT, len(data)))

    def accuracy() -> float:
        return masked_accuracy(model, tokenizer, held_out, batch_size=train.eval_batch_size)

    start_head(model, token_counts(rest, tokenizer))
    before = accuracy()
    model.requires_grad_(True)
    model.base_model.requires_grad_(params.encoder == "trained")
    # Neighbours in the embeddings are candidates too: they stay the teacher's.
    model.get_input_embeddings().requires_grad_(False)
    plan = Plan(model, model, masked_step(tokenizer, params), params.phase)
    result = run_phase(plan, rest, tokenizer, train, work, run)
    after = accuracy()
    print(f"masked accuracy on {len(held_out)} held-out sentences: {before:.3f} before, {after:.3f} after", flush=True)
    run.log_metrics({"masked_accuracy_before": before, "masked_accuracy": after})
    if result:
        run.log_metrics({"train_loss": result.loss, "train_samples_per_second": result.samples_per_second})


def token_counts(data: Dataset, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """How often each token stands in the text, special tokens never. (V,)"""
    counts = torch.zeros(len(tokenizer))
    for rows in data.iter(batch_size=1000):
        ids = torch.tensor([i for row in rows["input_ids"] for i in row])
        counts += torch.bincount(ids, minlength=len(tokenizer))
    counts[tokenizer.all_special_ids] = 0
    return counts


def masked_step(tokenizer: PreTrainedTokenizerBase, params: MlmParams) -> Callable[[nn.Module, Batch], Tensor]:
    """The step of fitting: new masks for every batch, the loss at what they hide."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        if params.encoder == "frozen":
            # No dropout under a head that learns alone.
            getattr(model, "module", model).base_model.eval()  # type: ignore[union-attr]
        inputs, ids, chosen = hide_tokens(
            model_inputs(batch), probability=params.mask, mask_id=tokenizer.mask_token_id,
            special_ids=tokenizer.all_special_ids, vocabulary=len(tokenizer),
        )  # fmt: skip
        return masked_lm_loss(model, inputs, ids, chosen)

    return step


@torch.inference_mode()
def masked_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: Dataset, *, batch_size: int
) -> float:
    """Share of hidden tokens whose likeliest prediction is right. Every chosen token is [MASK], as in augmentation."""
    model.eval()
    draw = torch.Generator().manual_seed(0)  # the same masks before and after
    right = total = 0
    rows: list[Any] = sorted(data, key=lambda row: row["length"])
    for start in range(0, len(rows), batch_size):
        batch = model_inputs(collate(rows[start : start + batch_size], tokenizer.pad_token_id))
        ids = batch["input_ids"]
        allowed = maskable(ids, batch["attention_mask"], tokenizer.all_special_ids)
        chosen = (torch.rand(ids.shape, generator=draw) < SCORED) & allowed
        batch = {**batch, "input_ids": ids.masked_fill(chosen, tokenizer.mask_token_id)}
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        best = logits_at(model, batch, chosen.to(model.device)).argmax(dim=1).cpu()
        right += int((best == ids[chosen]).sum())
        total += len(best)
    return right / max(total, 1)


if __name__ == "__main__":
    launch.run(main)
