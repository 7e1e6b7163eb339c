"""Light with the booster > light alone; without the gradient block the booster gets worse (Zhou 2018, section 4)."""

from collections.abc import Callable
from functools import partial

from torch import nn
from transformers import PreTrainedModel

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from benchmarks.rows import Rows
from stillhouse.encoders.student import build_student
from stillhouse.methods.rocket import Rocket, launch_loss, share_lowest
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.predict import predict

SHARED, WEIGHT = 1, 0.3  # λ, large enough for a booster without the block to feel the hint
START = [1, 6]  # of the light net: the shared layer, and the booster's last


def light(block: bool = True) -> Callable[[Lab, int], list[int]]:
    return partial(one_of, 0, block)


def booster(block: bool) -> Callable[[Lab, int], list[int]]:
    return partial(one_of, 1, block)


def alone(lab: Lab, seed: int) -> list[int]:
    """The light net without a booster."""
    net, _ = nets(lab, seed)
    return lab.predictions(lab.fine_tune(net, seed))


def one_of(place: int, block: bool, lab: Lab, seed: int) -> list[int]:
    """What one of the two nets predicts that were trained together, which is done once for both."""
    name = f"rocket/both, {'blocked' if block else 'not blocked'}-{seed}"
    return lab.outcome(name, partial(together, block, lab, seed)).reshape(2, -1)[place].tolist()


def nets(lab: Lab, seed: int) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Light net and booster."""
    full = lab.bare(seed)
    net = build_student(full, layers=len(START), source_layers=START, seed=seed)
    share_lowest(net, full, SHARED)
    return net, full


def together(block: bool, lab: Lab, seed: int) -> list[int]:
    """What the light net predicts, then what the booster does."""
    net, full = nets(lab, seed)
    model = Rocket(net, full, SHARED)

    def step(model: nn.Module, batch: Batch) -> dict:
        ours, theirs = (outputs.logits for outputs in model(model_inputs(batch)))
        return launch_loss(ours, theirs, batch["labels"], "logits", WEIGHT, 1.0, gradient_block=block)

    lab.fit(model, step, lab.rows, seed=seed)
    return lab.predictions(net) + of_booster(model, lab, lab.judged)


def of_booster(model: Rocket, lab: Lab, rows: Rows) -> list[int]:
    """What the booster predicts: it reads the shared layers through the light net."""

    class Second(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rocket = model
            self.config = model.light.config
            self.device = model.light.device

        def forward(self, **inputs: Batch) -> object:
            return type("Output", (), {"logits": self.rocket(inputs)[1]})

    return predict(Second(), rows, lab.tokenizer, batch_size=64).argmax(1).tolist()  # type: ignore[arg-type]


CLAIM = Claim(
    "rocket",
    "light with the booster > light alone; without the block the booster gets worse",
    {
        "light, boosted": light(),
        "light alone": alone,
        "booster, blocked": booster(True),
        "booster, not blocked": booster(False),
    },
    [Relation("light, boosted", "light alone"), Relation("booster, blocked", "booster, not blocked")],
)
