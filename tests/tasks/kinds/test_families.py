"""Every kind of task on every family of encoder: rows become batches, both losses have slopes, models are scored."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.families.find import FAMILIES
from stillhouse.training.batches import collate, model_inputs
from stillhouse.training.losses import soft_target_loss, task_loss
from tasks.kinds.find import kind_names, load_task
from tasks.kinds.judging import Scorer
from tasks.phases.logit_targets import with_logits
from tests import families
from tests.tasks import project
from tests.tasks.recipes.test_kinds import METRICS, ROWS, TINY

CELLS = [(kind, name) for kind in kind_names() for name in FAMILIES]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind's task and params.yaml, made once."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            place = made[kind] = tmp_path_factory.mktemp(kind)
            project.params(place)
            project.write_task(place, train=12, validation=12, **ROWS[kind])
            project.params(place, **TINY, **{"evaluate.metric": METRICS[kind]})
        return made[kind]

    return folder


@pytest.mark.parametrize(("kind", "name"), CELLS)
def test_a_family_learns_a_kind_of_task(kind: str, name: str, tasks, tmp_path: Path, monkeypatch, cell) -> None:
    cell(kind=kind, family=name)
    monkeypatch.chdir(tasks(kind))
    task = load_task(Path("data/task"))
    save_model(families.model(name, "Model"), families.tokenizer(name), tmp_path)
    model, tokenizer = task.kind.start(tmp_path, seed=1), load_tokenizer(tmp_path)
    encoded = task.kind.encode(task.train, tokenizer)
    draw = np.random.default_rng(1)  # what a teacher would say: the model itself, and something else
    said = task.kind.predict(model, encoded, tokenizer, 8)
    said = [each + draw.normal(size=each.shape).astype(np.float32) for each in said]
    rows = with_logits(encoded, said)
    batch = collate([rows[i] for i in range(8)], tokenizer.pad_token_id)
    outputs = model.train()(**model_inputs(batch))
    given = task.kind.predicted(outputs, batch)
    for loss in (task_loss(given, task.kind.labels(batch)), soft_target_loss(given, task.kind.taught(batch), 2.0)):
        model.zero_grad()
        loss.backward(retain_graph=True)
        slopes = [weight.grad for weight in model.parameters() if weight.grad is not None]
        assert loss.isfinite() and all(slope.isfinite().all() for slope in slopes)
        assert any(slope.any() for slope in slopes)
    model.eval()
    scorer = Scorer(task.kind, task.validation, tokenizer, METRICS[kind], batch_size=8)
    assert all(np.isfinite(score) for score in scorer(model))


def test_every_kind_meets_every_family() -> None:
    assert len(CELLS) == 5 * 10, "a new kind or family? then this number is another"
