"""What a recipe that works on more than one kind of task wants to know of one: see `kind_labels` and `kind_answers`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stillhouse.encoders.checkpoint import architecture
from stillhouse.errors import InputError
from stillhouse.training.batches import Batch
from stillhouse.training.step import Step
from tasks.phases.run import Given


@dataclass(frozen=True)
class Kind:
    """A kind of task, with its numbers from params.yaml.

    Args:
        numbers: what it reads there, by block, besides `train` and the recipe's own.
        tokens: length of the inputs that FLOPs and time are counted on.
        auto: transformers' Auto class of its models.
        load: what a phase works from, of the folders of the data and of the fine-tuned teacher.
        loss: of a batch under its labels, a mean over its rows.
        distil: the step with the teacher's logits too, of α and T.
    """

    numbers: dict[str, Any]
    tokens: int
    auto: type
    load: Callable[[Path, Path], Given]
    loss: Callable[[nn.Module, Batch], Tensor]
    distil: Callable[[float, float], Step]


def check_head(folder: Path, head: str, example: str) -> None:
    """A teacher must have been trained for the recipe's kind of task: a head of another kind would be a random one.

    Args:
        folder: its checkpoint.
        head: how the class that it was saved from must end.
        example: a checkpoint that is of this kind.

    Raises:
        InputError: it ends otherwise.
    """
    name = architecture(folder)
    if not name.endswith(head):
        raise InputError(f"'{folder}' is a {name}, this recipe wants a model …{head}: give one such as {example}")
