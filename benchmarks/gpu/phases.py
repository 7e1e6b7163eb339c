"""Every method's training, a phase a function: what it trains, its step and its rows, at any size.

They are put together here as `tasks/recipes` put them, from random weights and with no data to download. Nothing is
drawn on the device (no dropout; the gates of `structured` are wide open), so that a device's losses are the CPU's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from benchmarks.gpu import scene
from benchmarks.gpu.scene import Shape
from benchmarks.rows import Rows
from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.methods import (
    albert,
    bilstm,
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
    subword,
    theseus,
    tinybert,
    trim,
)
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm import BiLstmForSequenceClassification
from stillhouse.surgery import factorize
from stillhouse.surgery.gates import GATE_KINDS
from stillhouse.surgery.trimming import trim as trim_vocabulary
from stillhouse.text.wordpiece import train_wordpiece
from stillhouse.training.batches import Batch, collate, model_inputs
from stillhouse.training.losses import task_loss
from stillhouse.training.masking import hide_tokens, masked_lm_loss
from stillhouse.training.outcomes import classify
from stillhouse.training.schedules import Scheduled
from stillhouse.training.step import Step

MASK = {"mask": 0.15, "mask_id": 4, "special_ids": [0, 1, 2, 3, 4]}
ALL_OPEN = 20.0  # log α of gates that no draw closes


@dataclass
class Phase:
    """What `fit` is given."""

    model: nn.Module
    step: Step
    rows: Rows
    callbacks: list[TrainerCallback] = field(default_factory=list)


@dataclass(frozen=True)
class Size:
    """Of the phases: the teacher's shape, the longest row, rows in all."""

    shape: Shape = scene.TINY
    tokens: int = 16
    count: int = 32

    @property
    def depth(self) -> int:
        """Layers of the student."""
        return self.shape.layers // 2

    @property
    def sources(self) -> list[int]:
        """The teacher's layers that it starts from, counted from 1."""
        return [2 * (n + 1) for n in range(self.depth)]

    def teacher(self) -> Any:
        return scene.classifier(self.shape)

    def masked_lm(self) -> Any:
        return scene.masked_lm(self.shape)

    def student(self, teacher: Any, **shape: int) -> Any:
        if shape:
            return build_student(teacher, layers=self.depth, source_layers=None, seed=1, **shape)
        return build_student(teacher, layers=self.depth, source_layers=self.sources, seed=1)

    def rows(self, **options: Any) -> Rows:
        lengths = [self.tokens, self.tokens - 3, self.tokens // 2]
        return scene.rows(self.count, lengths, self.shape.vocabulary, **options)


def albert_corpus(size: Size) -> Phase:
    model = albert.shared(
        size.masked_lm(), share="all", groups=1, start="average", embedding_size=size.shape.width // 2
    )
    rows = size.rows()
    for row in rows:
        del row["label"], row["teacher_logits"]
        inner = row["length"] - 3  # [CLS] first [SEP] second [SEP]
        row["first"], row["second"] = inner // 2, inner - inner // 2
        row["input_ids"][1 + row["first"]] = 3
    step = albert.pretraining_step(**MASK, vocabulary=size.shape.vocabulary)
    return Phase(albert.Pretraining(model, {"mlm": 1.0, "sop": 1.0}, seed=0), step, rows)


def bilstm_task(size: Size) -> Phase:
    torch.manual_seed(0)
    width = size.shape.width
    model = BiLstmForSequenceClassification(
        BiLstmConfig(size.shape.vocabulary, width, width // 2, width, num_labels=scene.CLASSES)
    )

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = model(**model_inputs(batch)).logits
        return bilstm.distillation_loss(logits, batch["teacher_logits"], batch["labels"], alpha=0.1)

    return Phase(model, step, size.rows())


def distilbert_corpus(size: Size) -> Phase:
    teacher = size.masked_lm()
    weights = {"kl": 5.0, "mlm": 2.0, "cosine": 1.0}
    model = distilbert.GeneralDistillation(size.student(teacher), teacher, weights, temperature=2.0)
    return Phase(model, distilbert.general_step(**MASK, vocabulary=size.shape.vocabulary), size.rows())


def fitnets_hint(size: Size) -> Phase:
    teacher = size.teacher()
    student = size.student(teacher, hidden_size=size.shape.width // 2, intermediate_size=size.shape.units // 2)
    model = fitnets.GuidedStudent(student, size.depth // 2 or 1, size.shape.width, seed=0)
    return Phase(model, fitnets.hint_step(FrozenTeacher(teacher, size.shape.layers // 2, [])), size.rows())


def fitnets_task(size: Size) -> Phase:
    weight = Scheduled(lambda done: 4 - 3 * done)

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = model(**model_inputs(batch)).logits
        return fitnets.distillation_loss(logits, batch["teacher_logits"], batch["labels"], weight.value, 3.0)

    return Phase(size.student(size.teacher()), step, size.rows(), [weight])


def hinton_task(size: Size) -> Phase:
    teacher = size.teacher()
    return Phase(size.student(teacher), live_step(teacher), size.rows())


def live_step(teacher: Any) -> Step:
    """Hinton's loss, with the logits of a teacher that runs in the step."""
    frozen = FrozenTeacher(teacher, teacher.config.num_hidden_layers, [])

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs = model_inputs(batch)
        theirs = frozen(inputs).logits
        assert theirs is not None
        return hinton.distillation_loss(model(**inputs).logits, theirs, batch["labels"], 0.5, 4.0)

    return step


def hinton_logits(size: Size) -> Phase:
    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = model(**model_inputs(batch)).logits
        return hinton.logit_loss(logits, batch["teacher_logits"], batch["labels"], 0.5)

    return Phase(size.student(size.teacher()), step, size.rows())


def int8_task(size: Size) -> Phase:
    model = int8.fake_quantize(size.teacher(), embeddings=True, momentum=0.9)
    return Phase(model, classify, size.rows())


def layerdrop_corpus(size: Size) -> Phase:
    model = size.masked_lm()
    layerdrop.LayerDrop(model, 0.5)

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs, ids, chosen = hide_tokens(
            model_inputs(batch), probability=MASK["mask"], mask_id=MASK["mask_id"], special_ids=MASK["special_ids"],
            vocabulary=size.shape.vocabulary,
        )  # fmt: skip
        return {"mlm": masked_lm_loss(model, inputs, ids, chosen)}

    return Phase(model, step, size.rows())


def layerdrop_task(size: Size) -> Phase:
    model = size.teacher()
    layerdrop.LayerDrop(model, 0.5)
    return Phase(model, classify, size.rows())


def layerdrop_learnt(size: Size) -> Phase:
    model = layerdrop.LearntRates(size.teacher(), keep=size.depth, width=8, seed=0)

    def step(model: nn.Module, batch: Batch) -> Tensor:
        return task_loss(model(model_inputs(batch)).logits, batch["labels"])

    return Phase(model, step, size.rows())


def lowrank_task(size: Size) -> Phase:
    teacher, rows = size.teacher(), size.rows()
    names = list(lowrank.factorizable(teacher, layers=True, embedding=False))
    one_by_one = (collate([row], 0) for row in rows[:2])
    importance = lowrank.fisher_information(teacher, one_by_one, names, floor=0.01)
    ranks = dict.fromkeys(names, size.shape.width // 4)
    return Phase(factorize(teacher, ranks, {name: f.sqrt() for name, f in importance.items()}), classify, rows)


def magnitude_task(size: Size) -> Phase:
    model = size.teacher()
    magnitude.prune(model, 0.5, "local")
    return Phase(model, classify, size.rows(), [magnitude.HeldZeros(model)])


def minilm_corpus(size: Size) -> Phase:
    teacher = size.masked_lm()
    student = size.student(teacher, hidden_size=size.shape.width // 2, intermediate_size=size.shape.units // 2)
    frozen = FrozenTeacher(teacher.base_model, size.shape.layers, [], [size.shape.layers - 1])
    weights = {"attention": 1.0, "queries": 1.0, "keys": 1.0, "values": 1.0}
    step = minilm.relation_step(frozen, size.shape.layers, size.shape.heads, weights)
    return Phase(minilm.LastProjections(student.base_model), step, size.rows())


def pkd_task(size: Size) -> Phase:
    teacher = size.teacher()
    student, mapping = size.student(teacher), pkd.layer_map("skip", size.depth, size.shape.layers)
    step = pkd.patient_step(FrozenTeacher(teacher, max(mapping), []), mapping, 0.5, 100.0, 5.0)
    return Phase(student, step, size.rows())


def rco_task(size: Size) -> Phase:
    model = rco.OnRoute(size.student(size.teacher()))
    rows = size.rows()
    for row in rows:
        row["teacher_logits"] = [row["teacher_logits"], [2 * z for z in row["teacher_logits"]]]  # of two anchors
    return Phase(model, rco.route_step(model, 1.0, 4.0), rows, [rco.Route(model, 2, rco.Equal(2, 2))])


def rocket_task(size: Size) -> Phase:
    booster = size.teacher()
    light = build_student(booster, layers=size.depth + 1, source_layers=None, seed=3)
    rocket.share_lowest(light, booster, 1)

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        light, booster = (outputs.logits for outputs in model(model_inputs(batch)))
        return rocket.launch_loss(light, booster, batch["labels"], "logits", 0.03, 1.0, gradient_block=True)

    return Phase(rocket.Rocket(light, booster, 1), step, size.rows())


def structured_gain(size: Size) -> Phase:
    gain = structured.Gain(size.teacher(), GATE_KINDS)

    def step(model: nn.Module, batch: Batch) -> Tensor:
        return gain.measure(len(batch["input_ids"]), lambda gated: classify(gated, batch))

    return Phase(gain, step, size.rows())


def structured_l0(size: Size) -> Phase:
    shares = dict.fromkeys(GATE_KINDS, 0.5)
    gates = structured.HardConcreteGates(size.teacher(), shares, start=ALL_OPEN, rate=1.0, weights=False)

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"task": classify(model, batch), "l0": gates.constraint(0.1, 1.0)}

    return Phase(gates, step, size.rows())


def subword_corpus(size: Size) -> Phase:
    theirs = scene.tokenizer(size.shape.vocabulary)
    texts = scene.texts(size.count, size.tokens - 2, size.shape.vocabulary)
    ours = train_wordpiece(texts, theirs, size.shape.vocabulary // 2)
    teacher = size.masked_lm()
    width, units = size.shape.width // 2, size.shape.units // 2
    student = build_student(
        teacher, layers=size.depth, hidden_size=width, intermediate_size=units, tokenizer=ours, source_layers=None,
        seed=1,
    )  # fmt: skip
    offset = subword.add_vocabulary(teacher, len(ours), None, seed=0)
    model = subword.DualTraining(
        student, teacher, offset=offset, layers=size.sources, up=False, weight=0.5, seed=0
    )  # fmt: skip
    columns = subword.TwoCuts(theirs, ours, 2 * size.tokens)(texts)
    rows = Rows(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return Phase(model, subword.dual_step(theirs, ours, offset=offset, probability=0.5, mask=0.15), rows)


def theseus_task(size: Size) -> Phase:
    predecessor = size.teacher()
    model = theseus.Theseus(predecessor, size.student(predecessor))
    rate = Scheduled(theseus.replacement_schedule("linear", 0.3, 1.0))

    def step(model: nn.Module, batch: Batch) -> Tensor:
        return task_loss(model(model_inputs(batch), rate.value).logits, batch["labels"])

    return Phase(model, step, size.rows(), [rate])


def tinybert_states(size: Size) -> Phase:
    teacher = size.teacher()
    student = size.student(teacher, hidden_size=size.shape.width // 2, intermediate_size=size.shape.units // 2)
    mapping = tinybert.layer_map("uniform", size.depth, size.shape.layers)
    frozen = FrozenTeacher(teacher, max(mapping), [n - 1 for n in mapping])
    model = tinybert.TransformerDistillation(student, size.shape.width, range(size.depth), seed=0)
    weights = {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}
    return Phase(model, tinybert.transformer_step(frozen, mapping, weights), size.rows())


def tinybert_prediction(size: Size) -> Phase:
    def step(model: nn.Module, batch: Batch) -> Tensor:
        return tinybert.prediction_loss(model(**model_inputs(batch)).logits, batch["teacher_logits"], 1.0)

    return Phase(size.student(size.teacher()), step, size.rows())


def trim_task(size: Size) -> Phase:
    model, tokenizer = size.teacher(), scene.tokenizer(size.shape.vocabulary)
    texts = scene.texts(size.count, size.tokens // 2, size.shape.vocabulary // 2)
    keep = trim.pieces_that_stay(model, tokenizer, trim.count_pieces(tokenizer, texts), floor=1)
    small, cut = trim_vocabulary(model, tokenizer, keep)
    ids = cut(texts)["input_ids"]
    rows = Rows({"input_ids": row, "length": len(row), "label": number % 2} for number, row in enumerate(ids))
    return Phase(small, classify, rows)


PHASES: dict[str, Callable[[Size], Phase]] = {
    make.__name__.replace("_", ".", 1): make
    for make in (
        albert_corpus, bilstm_task, distilbert_corpus, fitnets_hint, fitnets_task, hinton_task, hinton_logits,
        int8_task, layerdrop_corpus, layerdrop_task, layerdrop_learnt, lowrank_task, magnitude_task, minilm_corpus,
        pkd_task, rco_task, rocket_task, structured_gain, structured_l0, subword_corpus, theseus_task, tinybert_states,
        tinybert_prediction, trim_task,
    )
}  # fmt: skip
"""A phase by `METHOD.PHASE`."""


def fresh(name: str, size: Size) -> Phase:
    """A phase; building it costs the caller no random numbers."""
    with torch.random.fork_rng(devices=[]):
        return PHASES[name](size)
