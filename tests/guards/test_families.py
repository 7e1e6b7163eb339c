"""Every method on every family of encoder at the smallest size: a step that learns something, or the reason why not."""

import ast
import string
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.families.find import COMPACT_FAMILIES, FAMILIES
from stillhouse.families.names import COMPACT
from stillhouse.methods import (
    albert,
    distilbert,
    fitnets,
    hinton,
    int8,
    layerdrop,
    lowrank,
    magnitude,
    minilm,
    pkd,
    rco,
    rocket,
    structured,
    theseus,
    tinybert,
    trim,
)
from stillhouse.surgery import drop_layers, factorize
from stillhouse.surgery import trim as cut_vocabulary
from tests.families import IDS, MASK, model, tokenizer

ROOT = Path(__file__).parents[2]
INPUTS = {"input_ids": IDS, "attention_mask": MASK}
BATCH = {**INPUTS, "labels": torch.tensor([0, 1])}
ALL = {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}
CHOSEN = MASK.bool() & (IDS > 4)

Loss = Tensor | dict[str, Tensor]


def student(teacher: PreTrainedModel, **shape: int) -> PreTrainedModel:
    """One layer, the teacher's second unless it has a shape of its own."""
    return build_student(teacher, layers=1, **shape, source_layers=None if shape else [2], seed=0)


def taught(teacher: PreTrainedModel) -> dict[str, Tensor]:
    with torch.no_grad():
        return {**BATCH, "teacher_logits": teacher(**INPUTS).logits}


def with_hinton(name: str) -> tuple[nn.Module, Loss]:
    teacher = model(name)
    ours = student(teacher, hidden_size=16, heads=2)
    logits = taught(teacher)["teacher_logits"]
    return ours, hinton.distillation_loss(ours(**INPUTS).logits, logits, BATCH["labels"], 0.5, 2.0)


def with_pkd(name: str) -> tuple[nn.Module, Loss]:
    teacher = model(name, layers=3)
    batch = taught(teacher)
    ours = build_student(teacher, layers=2, source_layers=[1, 2], seed=0)
    return ours, pkd.patient_step(FrozenTeacher(teacher, 2, []), [2], 0.5, 1.0, 2.0)(ours, batch)


def with_tinybert(name: str) -> tuple[nn.Module, Loss]:
    teacher = model(name)
    ours = tinybert.TransformerDistillation(student(teacher, hidden_size=16, heads=2), 32, [0], seed=0)
    return ours, tinybert.transformer_step(FrozenTeacher(teacher, 2, [1]), [2], ALL)(ours, BATCH)


def with_fitnets(name: str) -> tuple[nn.Module, Loss]:
    teacher = model(name)
    thin = build_student(teacher, layers=3, hidden_size=16, heads=2, source_layers=None, seed=0)
    ours = fitnets.GuidedStudent(thin, 2, 32, seed=0)
    return ours, fitnets.hint_step(FrozenTeacher(teacher, 1, []))(ours, BATCH)


def with_rco(name: str) -> tuple[nn.Module, Loss]:
    teacher = model(name)
    batch = taught(teacher)
    ours = rco.OnRoute(student(teacher))
    batch["teacher_logits"] = torch.stack([batch["teacher_logits"]] * 2, 1)
    return ours, rco.route_step(ours, 1.0, 2.0)(ours, batch)


def with_theseus(name: str) -> tuple[nn.Module, Loss]:
    teacher = model(name)
    whole = theseus.Theseus(teacher, student(teacher))
    both = [whole.replaced(INPUTS, [coin]).logits.square().sum() for coin in (True, False)]
    return whole, torch.stack(both).sum()


def with_rocket(name: str) -> tuple[nn.Module, Loss]:
    booster = model(name, layers=3)
    light = build_student(booster, layers=2, source_layers=[1, 3], seed=0)
    rocket.share_lowest(light, booster, 1)
    alone = booster(**INPUTS).logits
    both = rocket.Rocket(light, booster, 1)
    ours, theirs = both(INPUTS)
    assert torch.allclose(theirs.logits, alone, atol=1e-5)
    hint = {"kind": "logits", "weight": 1.0, "temperature": 1.0, "gradient_block": True}
    return both, rocket.launch_loss(ours.logits, theirs.logits, BATCH["labels"], **hint)


def with_layerdrop(name: str) -> tuple[nn.Module, Loss]:
    whole = model(name, layers=3).train()
    dropping = layerdrop.LayerDrop(whole, 0.5)
    loss = whole(**INPUTS).logits.square().sum()
    dropping.remove()
    rates = layerdrop.LearntRates(model(name, layers=3), 2, 4, seed=0)
    assert rates(INPUTS).logits.isfinite().all()
    assert drop_layers(whole, [1, 2])(**INPUTS).logits.isfinite().all()
    return whole, loss


def with_distilbert(name: str) -> tuple[nn.Module, Loss]:
    teacher = model(name, "ForMaskedLM")
    ours = distilbert.GeneralDistillation(student(teacher), teacher, {"kl": 5.0, "mlm": 2.0, "cosine": 1.0}, 2.0)
    return ours, ours(INPUTS, IDS, CHOSEN)


def with_albert(name: str) -> tuple[nn.Module, Loss]:
    masked = model(name, "ForMaskedLM")
    small = albert.shared(masked, share="all", groups=1, start="average", embedding_size=8)
    ours = albert.Pretraining(small, {"mlm": 1.0, "sop": 1.0}, 0)
    return ours, ours(INPUTS, IDS, CHOSEN, torch.tensor([True, False]))


def with_minilm(name: str) -> tuple[nn.Module, Loss]:
    teacher = model(name)
    ours = minilm.LastProjections(student(teacher, hidden_size=16, heads=2))
    weights = dict.fromkeys(minilm.RELATIONS, 1.0)
    return ours, minilm.relation_step(FrozenTeacher(teacher, 2, [], [1]), 2, 8, weights)(ours, BATCH)


def with_trim(name: str) -> tuple[nn.Module, Loss]:
    letters = [mark + letter for mark in ("", "##") for letter in string.ascii_lowercase if mark + letter != "a"]
    words = tokenizer(name, letters)
    whole = model(name, vocab_size=len(words))
    counts = trim.count_pieces(words, ["the film is very good", "a plot"])
    keep = trim.pieces_that_stay(whole, words, counts, 1)
    small, fewer = cut_vocabulary(whole, words, keep)
    read, again = (cut(["the plot is good"], return_tensors="pt") for cut in (words, fewer))
    logits = small(**again).logits
    assert len(fewer) < len(words) and torch.allclose(logits, whole(**read).logits, atol=1e-5)
    return small.train(), logits.square().sum()


def with_structured(name: str) -> tuple[nn.Module, Loss]:
    whole = model(name)
    ours = structured.HardConcreteGates(whole, {"heads": 0.5, "units": 0.5}, start=3.0, rate=1.0, weights=True)
    return ours, ours(**INPUTS).logits.square().sum() + ours.penalty(0.1)


def with_lowrank(name: str) -> tuple[nn.Module, Loss]:
    whole = model(name)
    names = list(lowrank.factorizable(whole, layers=True, embedding=False))[:2]
    rows = [{key: values[:1] for key, values in BATCH.items()}]
    ours = factorize(whole, dict.fromkeys(names, 3), lowrank.fisher_information(whole, rows, names, 0.01))
    return ours, ours(**INPUTS).logits.square().sum()


def with_magnitude(name: str) -> tuple[nn.Module, Loss]:
    whole = model(name)
    masks = magnitude.prune(whole, 0.5, "local")
    assert len(masks) > 4
    return whole, whole(**INPUTS).logits.square().sum()


def with_int8(name: str) -> tuple[nn.Module, Loss]:
    fake = int8.fake_quantize(model(name).train(), embeddings=True, momentum=0.9)
    loss = fake(**INPUTS).logits.square().sum()
    whole = int8.convert(fake.eval())
    # Sums in another order may turn a rounding, and then a number moves by a whole step.
    assert torch.allclose(whole(**INPUTS).logits, fake(**INPUTS).logits, atol=0.05)
    return fake, loss


METHODS: dict[str, Callable[[str], tuple[nn.Module, Loss]]] = {
    key.removeprefix("with_"): value for key, value in list(globals().items()) if key.startswith("with_")
}
NO_SHAPES = "model family 'electra' is not one of bert, roberta"
ONE_LAYER = "model family 'albert': it computes one layer's weights again and again"
# Every other cell runs.
REFUSED = {
    **{(method, "electra"): NO_SHAPES for method in ("layerdrop", "albert", "structured", "lowrank", "int8")},
    **{(method, "albert"): ONE_LAYER for method in ("theseus", "rocket", "layerdrop", "albert")},
    ("structured", "albert"): "the model's layers share weights, so a gate would be of several",
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_does_a_family_or_says_why_not(method: str, name: str, cell) -> None:
    cell(method=method, family=name)
    if (method, name) in REFUSED:
        with pytest.raises(InputError) as refused:
            METHODS[method](name)
        assert REFUSED[method, name] in str(refused.value) and "\n" not in str(refused.value)
        cell(method=method, family=name, refused=str(refused.value))
        return
    module, loss = METHODS[method](name)
    total = sum(loss.values()) if isinstance(loss, dict) else loss
    assert total.isfinite()
    total.backward()
    found = [weight.grad for weight in module.parameters() if weight.grad is not None]
    assert found and all(slope.isfinite().all() for slope in found) and any(slope.any() for slope in found)


def test_the_table_has_a_reason_for_each_cell_that_is_refused() -> None:
    assert len(METHODS) * len(FAMILIES) == 16 * 10, "a new method or family? then this number is another"
    assert len(REFUSED) == 10 and all(method in METHODS and name in FAMILIES for method, name in REFUSED)


def test_nobody_asks_which_family_an_encoder_is() -> None:
    names = {*FAMILIES, *(COMPACT + name for name in COMPACT_FAMILIES)}
    # The recipe `subword` pairs BERT's own vocabulary with another; served code is copied away from the families.
    known = ("stillhouse/families/", "tasks/recipes/subword.py", "flows/serving/")
    seen = 0
    for package in ("stillhouse", "tasks", "flows"):
        for file in sorted((ROOT / package).rglob("*.py")):
            place = file.relative_to(ROOT).as_posix()
            if place.startswith(known):
                continue
            compared = [
                node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Compare | ast.Match)
            ]
            words = {each.value for node in compared for each in ast.walk(node) if isinstance(each, ast.Constant)}
            assert not names & words, place
            seen += 1
    assert seen > 150


def test_every_family_has_its_line_in_find() -> None:
    files = {file.stem for file in (ROOT / "stillhouse/families").glob("[a-z]*.py")}
    rest = {"contract", "find", "names"} | {name for name in files if name.endswith("_modules")}
    assert files - rest == {"albert", "bert", "deberta_v2", "distilbert", "electra", "modernbert", "mpnet", "roberta"}
    text = (ROOT / "stillhouse/families/find.py").read_text()
    assert all(f"{name}.FAMILY" in text for name in files - rest)
