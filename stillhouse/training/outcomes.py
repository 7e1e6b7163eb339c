"""What models and batches say, as distributions: the one form in which every method's loss reads every kind of task.

A distribution is a row of logits over outcomes. A classifier gives one of each text; a model of answers gives two of
each window, where the answer begins and where it ends; a tagger gives one of each word. So a loss that a paper states
for classes holds for all of them, as the mean over distributions. Where distributions of one batch differ in length,
the shorter ones have NO_OUTCOME in the places they lack.

Shapes: B rows in a batch, N distributions, C outcomes (1 for scores).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import task_loss


class Outcomes:
    """One distribution a row: classes, or scores where C is 1."""

    def predicted(self, outputs: Any, batch: Batch) -> Tensor:
        """(N, C) what a model says.

        Args:
            outputs: of its forward pass on the batch.
        """
        return outputs.logits

    def labels(self, batch: Batch) -> Tensor:
        """(N,) the right outcome's index, or the score; of rows that have labels."""
        return batch["labels"]

    def taught(self, batch: Batch) -> Tensor:
        """(N, C) what the teacher says, from the batch's column `teacher_logits`; (N, K, C) of K teachers."""
        return batch["teacher_logits"]

    def combined(self, logits: np.ndarray, combine: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """What `combine` makes of several teachers' logits, (K, N, C), whose last axis is a distribution."""
        return combine(logits)

    def hard(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss under the labels alone: the step of plain training."""
        return task_loss(self.predicted(model(**model_inputs(batch)), batch), self.labels(batch))


class SeveralLabels(Outcomes):
    """A distribution over no and yes for each of W labels of each row, which may have any number of them: N is B·W.

    The logit of no is 0, so that of yes is the model's own and its probability the sigmoid: the mean loss of the
    distributions is binary cross-entropy, and a temperature T divides the logit (with one label: two classes).
    """

    width: int  # W

    def predicted(self, outputs: Any, batch: Batch) -> Tensor:
        return no_and_yes(outputs.logits)

    def labels(self, batch: Batch) -> Tensor:
        """(B·W,) 0 or 1, from the batch's column of (B, M) places of labels; rows with fewer than M end in -1."""
        places = torch.arange(self.width, device=batch["labels"].device)
        return (batch["labels"][..., None] == places).any(1).long().flatten()

    def taught(self, batch: Batch) -> Tensor:
        return no_and_yes(batch["teacher_logits"])

    def combined(self, logits: np.ndarray, combine: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        both = combine(np.stack([np.zeros_like(logits), logits], axis=-1))  # of no and yes
        return both[..., 1] - both[..., 0]


def no_and_yes(logits: Tensor) -> Tensor:
    """(B·W, …, 2) logits of no and yes, of W logits a row, (B, …, W)."""
    yes = logits.movedim(-1, 1).flatten(0, 1).float()
    return torch.stack([torch.zeros_like(yes), yes], dim=-1)


ROWS = Outcomes()
classify = ROWS.hard
