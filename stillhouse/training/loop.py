"""The one training loop: a thin subclass of transformers' Trainer.

Mixed precision, gradient accumulation, DDP, and checkpoints with optimizer, scheduler and RNG state come from there. A
method gives `fit` a `step(model, batch)` and, where its paper needs one, callbacks.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from stillhouse.errors import InputError
from stillhouse.training import processes
from stillhouse.training.allocator import keep_freed_memory
from stillhouse.training.attention import quick_attention
from stillhouse.training.autocast import choose_precision
from stillhouse.training.batches import Batch, LengthGroupedSampler, RandomSampler
from stillhouse.training.checkpoints import COMPLETE, last_checkpoint
from stillhouse.training.dropout import cheap_dropout
from stillhouse.training.preemption import preemptible
from stillhouse.training.progress import Log, Progress
from stillhouse.training.schedules import rise_and_fall
from stillhouse.training.seen_words import only_seen_words
from stillhouse.training.step import Step


@dataclass(frozen=True)
class FitResult:
    """What a run of the loop did."""

    steps: int
    loss: float  # mean over the last report's steps
    samples_per_second: float  # of this process, resumed steps not counted
    resumed_from: int  # step, 0 for a fresh start


def fit(
    model: nn.Module,
    step: Step,
    data: Any,
    collate: Callable[[Sequence[Any]], Batch],
    *,
    epochs: float,
    batch_size: int,
    learning_rate: float,
    seed: int,
    checkpoints: Path,
    checkpoint_steps: int = 500,
    accumulate: int = 1,
    max_steps: int = -1,
    precision: str = "auto",
    warmup: float = 0.1,
    parts: int = 1,
    weight_decay: float = 0.01,
    max_grad_norm: float = 1.0,
    words: Iterable[int] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    log: Log | None = None,
) -> FitResult:
    """Train `model` in place, from its last checkpoint if `checkpoints` holds one.

    Args:
        model: what is trained and checkpointed; parameters that need no gradient are left alone.
        step: gives the loss of one batch, or its weighted terms by name.
        data: rows by index; a column `length` groups rows of similar length into batches.
        collate: makes a batch of rows.
        epochs: passes over the data; `max_steps` > 0 overrides it.
        batch_size: rows a forward pass, of all processes together; an optimizer step takes `accumulate` of them.
        learning_rate: peak; rises linearly over `warmup` (share of the steps), then falls linearly to 0.
        parts: equal parts of the steps, in each of which the learning rate rises and falls anew.
        seed: order of the data, dropout.
        checkpoints: folder for checkpoints; two are kept. The caller removes it when the result is safe.
        precision: auto | fp32 | bf16 | fp16. auto takes bf16 where the hardware computes in it.
        words: all token ids that a step can read; word vectors of others are left out of training. None: all are in it.
        callbacks: transformers callbacks, after the loop's own.
        log: called every few seconds with the step and the mean losses since the last call.

    Raises:
        InputError: no rows, an impossible precision, a batch that the processes cannot share, or a loss that is not
            finite (with its step).
        Preempted: SIGTERM came; there is a checkpoint of the step it came in.
    """
    if len(data) == 0:
        raise InputError("no training rows: check the data's limits in params.yaml")
    kind = choose_precision(precision)
    if not torch.cuda.is_available():
        keep_freed_memory()
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=epochs,
        max_steps=max_steps,
        per_device_train_batch_size=_share(batch_size),
        gradient_accumulation_steps=accumulate,
        learning_rate=learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=warmup,
        weight_decay=weight_decay,
        max_grad_norm=max_grad_norm,
        optim="adamw_torch_fused",
        seed=seed,
        bf16=kind == "bf16",
        fp16=kind == "fp16",
        use_cpu=not torch.cuda.is_available(),
        save_strategy="steps",
        save_steps=checkpoint_steps,
        save_total_limit=2,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        accelerator_config={"non_blocking": torch.cuda.is_available()},  # else each column of a batch is waited for
        ddp_find_unused_parameters=True,  # a loss may leave a head out, as one on hidden states does
    )
    seen = nullcontext() if words is None else only_seen_words(model, words)
    with preemptible() as stops, cheap_dropout(model), quick_attention(model), seen, _old_objects_left_alone():
        trainer = _Trainer(step, parts, model=model, args=arguments, train_dataset=data, data_collator=collate)
        trainer.remove_callback(PrinterCallback)
        progress = Progress(trainer.drain, log)
        for callback in (progress, *callbacks, stops):
            trainer.add_callback(callback)
        last = last_checkpoint(checkpoints)
        if last is not None:
            print(f"resuming from {last}", flush=True)
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        except UnpicklingError:
            # torch's restricted loader reads the optimizer's and the generators' state.
            raise InputError(f"'{last}' holds a pickle that would run code, and is not read: delete it") from None
    return FitResult(progress.steps, progress.loss, progress.rate, progress.first_step)


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """Within it, garbage collection does not look through what was there before: mostly modules, a million objects.

    The Trainer collects as it begins, for as long as two or three steps of a small student take.
    """
    theirs = _others_froze_objects()  # and keep them frozen
    gc.freeze()
    try:
        yield
    finally:
        if not theirs:
            gc.unfreeze()


@cache
def _others_froze_objects() -> bool:
    """Asked once a process: Python walks through all frozen objects to count them."""
    return gc.get_freeze_count() > 0


def _share(batch_size: int) -> int:
    """Rows of a batch for each process."""
    number = processes.count()
    if batch_size % number:
        numbers = "'processes'" if processes.machines() == 1 else "'processes' or 'machines'"
        raise InputError(
            f"batch_size = {batch_size} cannot be shared by {number} processes: make it a multiple, or change {numbers}"
        )
    return batch_size // number


class _Trainer(Trainer):
    """Trainer with our loss, our order of rows, and checkpoints that hold no pickled arguments."""

    def __init__(self, step: Step, parts: int, **options: Any) -> None:
        super().__init__(**options)
        self.step = step
        self.parts = parts
        self.model_accepts_loss_kwargs = False  # `step` gives a mean: accumulation divides by the number of batches
        self.terms: dict[str, Tensor] = {}  # sums since the last report
        self.summed = 0
        self.first_bad: Tensor | None = None  # step of the first loss that is not finite
        self.callback_handler.add_callback(_Watch(self))

    def compute_loss(self, model: nn.Module, inputs: Batch, *_: Any, **__: Any) -> Tensor:
        # Around the whole step, not just the model as the Trainer has it: a teacher computes in the same precision.
        with self.accelerator.autocast():
            terms = self.step(model, inputs)
        if isinstance(terms, Tensor):
            terms = {"loss": terms}
            loss = terms["loss"]
        else:
            loss = torch.stack([term.float() for term in terms.values()]).sum()
            terms = {"loss": loss, **terms}
        # What is reported, and whether training goes on, is said of the whole batch.
        whole = processes.mean(torch.stack([term.detach().float() for term in terms.values()]))
        for name, term in zip(terms, whole, strict=True):
            seen = self.terms.get(name)
            self.terms[name] = term if seen is None else seen + term
        self.summed += 1
        # Kept on the device: reading every loss would make the GPU wait for Python at each step.
        bad = torch.where(whole[0].isfinite(), torch.inf, float(self.state.global_step + 1))
        self.first_bad = bad if self.first_bad is None else torch.minimum(self.first_bad, bad)
        return loss

    def drain(self) -> dict[str, float]:
        """The mean of each loss term since the last call."""
        means = {name: total.item() / self.summed for name, total in self.terms.items()}
        self.terms, self.summed = {}, 0
        return means

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LRScheduler:
        if self.parts == 1 or self.lr_scheduler is not None:
            return super().create_scheduler(num_training_steps, optimizer)
        share = rise_and_fall(num_training_steps, self.parts, self.args.get_warmup_steps)
        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share)  # type: ignore[arg-type]  # there is one by now
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows: Any = self.train_dataset
        seed = self.args.seed
        if "length" in getattr(rows, "column_names", ()):
            lengths = rows["length"][:]
            batch_size = self.args.train_batch_size * self.args.world_size
            self.sampler: Any = LengthGroupedSampler(lengths, batch_size, seed)
        else:
            self.sampler = RandomSampler(rows, seed)
        return self.sampler

    def floating_point_ops(self, inputs: Batch) -> int:
        return 0  # counted once, by `stillhouse.encoders.measure`, not at every step

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        assert self.model is not None
        save_file(
            _untied(state_dict or self.model.state_dict()), folder / "model.safetensors", metadata={"format": "pt"}
        )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        processes.wait()  # each has its own generators to save
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        if processes.machines() > 1:
            _gather_generators(folder)
        if self.args.should_save:
            (folder / COMPLETE).touch()


def _gather_generators(folder: Path) -> None:
    """Have the first process keep the generators of those that wrote them to another machine's disk."""
    for rank in range(1, processes.count()):
        file = folder / f"rng_state_{rank}.pth"
        ours = int(os.environ["RANK"]) == rank
        state = processes.said_by(rank, file.read_bytes() if ours else b"")
        if processes.is_first() and not file.exists():
            file.write_bytes(state)


def _untied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tied weights: safetensors refuses two names for one memory, and loading ties them again."""
    seen: set[int] = set()
    out = {}
    for name, tensor in state.items():
        tied = tensor.data_ptr() in seen
        seen.add(tensor.data_ptr())
        out[name] = tensor.clone() if tied else tensor.contiguous()
    return out


class _Watch(TrainerCallback):
    """Tells the sampler its epoch, and stops at the first loss that is not finite, before it reaches a checkpoint."""

    def __init__(self, trainer: _Trainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.sampler.set_epoch(int(state.epoch or 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        on_cpu = args.device.type == "cpu"
        if on_cpu or control.should_save or state.global_step % 20 == 0 or state.global_step == state.max_steps:
            assert self.trainer.first_bad is not None
            bad = self.trainer.first_bad.item()
            if bad < torch.inf:
                raise InputError(
                    f"the loss is not finite at step {int(bad)} of {state.max_steps} "
                    f"(learning_rate = {args.learning_rate}): lower it, or raise 'warmup'"
                )
