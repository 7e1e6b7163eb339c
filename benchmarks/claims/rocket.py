"""Light with the booster > light alone; without the gradient block the booster gets worse (Zhou 2018, section 4)."""

from collections.abc import Callable
from functools import partial

from torch import nn

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab, Rows
from stillhouse.encoders.student import build_student
from stillhouse.methods.rocket import Rocket, launch_loss, share_lowest
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.predict import predict

SHARED, WEIGHT = 1, 0.03
START = [1, 6]  # of the light net: the shared layer, and the booster's last


def light(booster: bool, block: bool = True) -> Callable[[Lab, int], list[int]]:
    return partial(run, booster, block, "light")


def booster(block: bool) -> Callable[[Lab, int], list[int]]:
    return partial(run, True, block, "booster")


def run(with_booster: bool, block: bool, wanted: str, lab: Lab, seed: int) -> list[int]:
    full = lab.bare(seed)
    net = build_student(full, layers=len(START), source_layers=START, seed=seed)
    share_lowest(net, full, SHARED)
    if not with_booster:
        return lab.predictions(lab.fine_tune(net, seed))
    model = Rocket(net, full, SHARED)

    def step(model: nn.Module, batch: Batch) -> dict:
        ours, theirs = (outputs.logits for outputs in model(model_inputs(batch)))
        return launch_loss(ours, theirs, batch["labels"], "logits", WEIGHT, 1.0, gradient_block=block)

    lab.fit(model, step, lab.rows, seed=seed)
    return lab.predictions(net) if wanted == "light" else of_booster(model, lab, lab.validation)


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
        "light, boosted": light(True),
        "light alone": light(False),
        "booster, blocked": booster(True),
        "booster, not blocked": booster(False),
    },
    [Relation("light, boosted", "light alone"), Relation("booster, blocked", "booster, not blocked")],
)
