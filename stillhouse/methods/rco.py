"""Route-constrained optimization (Jin et al. 2019, arXiv 1904.09149, section 3).

The student learns from checkpoints C_1 … C_K of the teacher's own training, in their order, the teacher last:

    L = CE(y, z_S) + λ·T²·KL(softmax(z_C/T), softmax(z_S/T))         C: the anchor of the moment

The steps are divided into equal parts. At the start of each the anchor is chosen:

    equal    as many anchors as parts, evenly spaced over the route, C_K the last
    greedy   C_1 first. After a part with anchor C_i, H_ij = KL(C_j, student) is measured for j = i … K on held-out
             rows; the next anchor is the first C_j with (H_ij − H_ii)/H_ii > δ, or C_K if none is that much harder.
             The last part has C_K, whatever was measured.

In each part the learning rate rises and falls anew, as in the paper, which trains at each anchor until its schedule is
through: `fit` has it so with as many `parts`. One falling schedule over all parts would leave the smallest steps for
C_K, the best of the anchors.

Where we differ: the whole takes as many steps as plain distillation from C_K, and starts like it from the teacher's
layers; in greedy the number of parts is fixed for the same reason. All parts are one run of one optimizer, which keeps
its moments from one anchor to the next. T² is ours, as in Hinton's loss: λ then means the same at every T. H is the
training loss's own KL. For regression, KL is the squared error of the scores.

Shapes: B sentences, N held-out rows, C classes, K anchors of the route.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from stillhouse.errors import InputError
from stillhouse.training.batches import Batch, by_length, model_inputs
from stillhouse.training.losses import task_loss
from stillhouse.training.outcomes import ROWS, Outcomes
from stillhouse.training.schedules import first_steps
from stillhouse.training.step import Step

Choose = Callable[[int, int], int]  # (part, anchor of the part before), from 0: the anchor of this part


def divergence(student: Tensor, anchor: Tensor, temperature: float) -> Tensor:
    """T²·KL(softmax(z_C/T), softmax(z_S/T)), summed over classes, mean over sentences; squared error where C is 1.

    Args:
        student: z_S (B, C).
        anchor: z_C (B, C).
        temperature: T.
    """
    if student.shape[-1] == 1:
        return F.mse_loss(student.float(), anchor.float())
    ours = F.log_softmax(student.float() / temperature, dim=-1)
    theirs = F.log_softmax(anchor.float() / temperature, dim=-1)
    return temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1).mean()


def equal_anchors(count: int, route: int) -> list[int]:
    """`count` of the route's checkpoints, evenly spaced, counted from 0; the last one is among them.

    Raises:
        InputError: more than there are.
    """
    if count > route:
        raise InputError(
            f"count ({count}) is more than the {route} checkpoints of the route: lower it, or raise teacher.route"
        )
    return [(part + 1) * route // count - 1 for part in range(count)]


def next_anchor(hardness: Sequence[float], anchor: int, delta: float) -> int:
    """The first later anchor whose KL is more than δ above the present one's, relative to it; else the last.

    Args:
        hardness: H_ij for all j of the route; those before `anchor` are not read.
        anchor: i, from 0.
        delta: δ.
    """
    here = hardness[anchor]
    harder = (j for j in range(anchor + 1, len(hardness)) if hardness[j] - here > delta * here)
    return next(harder, len(hardness) - 1)


class OnRoute(nn.Module):
    """A student and where on the route it is. The anchor is a buffer, so a checkpoint keeps it."""

    anchor: Tensor

    def __init__(self, student: PreTrainedModel) -> None:
        super().__init__()
        self.student = student
        self.register_buffer("anchor", torch.tensor(0))  # from 0

    def forward(self, inputs: Batch) -> Any:
        """The student's outputs."""
        return self.student(**inputs)


class Equal:
    """Evenly spaced anchors, one a part."""

    def __init__(self, count: int, route: int) -> None:
        self.anchors = equal_anchors(count, route)

    def __call__(self, part: int, _: int) -> int:
        return self.anchors[part]


class Greedy:
    """Anchors by what the student finds hard on held-out rows.

    Args:
        student: what is trained; it is measured in eval mode and given back in the mode it was in.
        tokenizer: tells the padding.
        parts: of the training.
        route: K.
        delta: δ.
        temperature: T.
        batch_size: of the measurement.
        outcomes: of the task.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        parts: int,
        route: int,
        delta: float,
        temperature: float,
        batch_size: int,
        outcomes: Outcomes = ROWS,
    ) -> None:
        self.student = student
        self.tokenizer = tokenizer
        self.parts = parts
        self.last = route - 1
        self.delta = delta
        self.temperature = temperature
        self.batch_size = batch_size
        self.outcomes = outcomes
        self.rows: Any = None

    def hold_out(self, rows: Any) -> None:
        """Take the rows to measure on, tokenized, with the anchors' logits."""
        self.rows = rows

    def __call__(self, part: int, anchor: int) -> int:
        if part == self.parts - 1 or anchor == self.last:
            return self.last
        return next_anchor(self.hardness(), anchor, self.delta) if part else 0

    def hardness(self) -> list[float]:
        """H_j = KL(C_j, student as it is) for each anchor."""
        training = self.student.training
        self.student.eval()
        try:
            with torch.inference_mode():
                parts = [self._measure(batch) for batch in by_length(self.rows, self.tokenizer, self.batch_size)]
        finally:
            self.student.train(training)
        counts = torch.tensor([count for count, _ in parts])
        hardness = ((counts[:, None] * torch.stack([means for _, means in parts])).sum(0) / counts.sum()).tolist()
        print("KL to each anchor of the route:", " ".join(f"{h:.4f}" for h in hardness), flush=True)
        return hardness

    def _measure(self, batch: Batch) -> tuple[int, Tensor]:
        """How many distributions a batch has, and their mean KL to each anchor, (K,)."""
        batch = {name: tensor.to(self.student.device) for name, tensor in batch.items()}
        ours = self.outcomes.predicted(self.student(**model_inputs(batch)), batch)  # (N, C)
        anchors = self.outcomes.taught(batch)  # (N, K, C)
        means = [divergence(ours, theirs, self.temperature) for theirs in anchors.unbind(1)]
        return len(ours), torch.stack(means).cpu()


class Route(TrainerCallback):
    """Leads a student along the route while `fit` trains it.

    Args:
        model: keeps the anchor.
        parts: of the training, equal numbers of steps; `fit` is given as many.
        choose: gives the anchor at the start of each part.
    """

    def __init__(self, model: OnRoute, parts: int, choose: Choose) -> None:
        self.model = model
        self.parts = parts
        self.choose = choose

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.max_steps < self.parts:
            raise InputError(
                f"{state.max_steps} steps are fewer than the {self.parts} parts of the route: "
                "raise 'epochs', or lower 'count'"
            )

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # A checkpoint between two parts is written before this: a run that resumes from it chooses again, and alike.
        firsts = first_steps(state.max_steps, self.parts)
        if state.global_step in firsts:
            part = firsts.index(state.global_step)
            self.model.anchor.fill_(self.choose(part, int(self.model.anchor)))
            if state.is_world_process_zero:
                print(f"step {state.global_step}: anchor {int(self.model.anchor) + 1} of the route", flush=True)


def route_step(route: OnRoute, weight: float, temperature: float, outcomes: Outcomes = ROWS) -> Step:
    """The step of the only phase, for `fit`; the batch brings the anchors' logits, (N, K, C).

    Args:
        route: knows the anchor.
        weight: λ.
        temperature: T.
        outcomes: of the task.
    """

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = outcomes.predicted(model(model_inputs(batch)), batch)  # (N, C)
        anchor = outcomes.taught(batch).index_select(1, route.anchor.view(1)).squeeze(1)  # (N, C)
        return {
            "hard": task_loss(logits, outcomes.labels(batch)),
            "soft": weight * divergence(logits, anchor, temperature),
        }

    return step
