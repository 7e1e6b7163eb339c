"""What a method hands to the training loop: the step, which gives the loss of one batch."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from stillhouse.training.batches import Batch

# A loss, or its weighted terms by name: their sum is the loss, and each is logged.
Step = Callable[[nn.Module, Batch], Tensor | Mapping[str, Tensor]]
