"""The step of plain training: the task's own loss, on its labels alone."""

from torch import Tensor, nn

from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import task_loss


def classify(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy with the labels, or squared error of the scores; a step for `stillhouse.training.loop.fit`."""
    return task_loss(model(**model_inputs(batch)).logits, batch["labels"])
