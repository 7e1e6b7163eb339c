"""subword: a student with its own vocabulary, trained together with its teacher on the corpus, then the task.

When to use it: word vectors are what is too large, there is a large corpus, and the teacher is a BERT. It is the
smallest student that is not rounded. With the small default corpus it keeps least, and of labels a word next to
nothing.
"""

from typing import Literal

from datasets import Dataset
from pydantic import Field
from transformers import PreTrainedTokenizerBase

from stillhouse.encoders.families import encoder
from stillhouse.encoders.student import build_student
from stillhouse.errors import InputError
from stillhouse.methods import subword as method
from stillhouse.text.wordpiece import cut, train_wordpiece
from tasks.phases.plan import Plan, left_out
from tasks.phases.run import Given
from tasks.phases.task_loss import TaskParams, task_plan
from tasks.stage.params import Block, Phase


class Shape(Block):
    """The student's, which starts from random weights; its depth is that of the layer map."""

    hidden_size: int = Field(gt=0, description="Width; 48, 96 or 192 in the paper")
    heads: int = Field(gt=0, description="Attention heads")
    intermediate_size: int = Field(gt=0, description="Feed-forward width")


class General(Block):
    """`subword.general` in params.yaml."""

    student: Shape
    layer_map: list[int] | None = Field(description="Teacher layer of each student layer, from 1; null: all of them")
    vocabulary: int = Field(gt=5, description="Pieces of the student's own vocabulary, special tokens included")
    dual: float = Field(ge=0, le=1, description="p_DT: share of words that the teacher reads in the student's pieces")
    start: Literal["teacher", "random"] = Field(
        description="Of those pieces' embeddings in the teacher: the mean of its own for the same text, or random"
    )
    projection: Literal["none", "down", "up"] = Field(description="Of weights; none leaves the teacher out altogether")
    weight: float = Field(ge=0, description="ε of the projection loss; 0 is none")
    mask: float = Field(gt=0, lt=1, description="Share of the tokens that are predicted")
    phase: Phase | None = Field(description="null leaves the student untrained, as an ablation")


class Params(Block):
    """`subword` in params.yaml."""

    general: General
    distill: TaskParams


def general(params: General, given: Given) -> Plan:
    """Teacher and student together on the corpus; the student's encoder and its tokenizer are what is kept."""
    teacher, theirs = given.teacher, given.tokenizer
    if teacher.config.model_type != "bert" or teacher.get_output_embeddings() is None:
        raise InputError(
            f"subword's teacher is a {type(teacher).__name__}: give a BERT that is a masked LM (--mlm models/mlm)"
        )
    layers = params.layer_map or list(range(1, teacher.config.num_hidden_layers + 1))
    method.check_layers(layers, teacher.config.num_hidden_layers)
    tokenizer = train_wordpiece(given.rows["text"], theirs, params.vocabulary)
    seed = params.phase.seed if params.phase else 0
    ours = build_student(
        teacher, layers=len(layers), **params.student.model_dump(), tokenizer=tokenizer, source_layers=None, seed=seed
    )
    if params.phase is None:
        return left_out(encoder(ours), tokenizer)
    offset = None
    if params.projection != "none" and params.weight:
        starts = _starts(theirs, tokenizer) if params.start == "teacher" else None
        offset = method.add_vocabulary(teacher, len(tokenizer), starts, seed)
    model = method.DualTraining(
        ours,
        None if offset is None else teacher.requires_grad_(True),
        offset=offset or 0,
        layers=layers,
        up=params.projection == "up",
        weight=params.weight,
        seed=seed,
    )
    step = method.dual_step(theirs, tokenizer, offset=offset, probability=params.dual, mask=params.mask)

    def encode(data: Dataset, max_length: int) -> Dataset:
        both = method.TwoCuts(theirs, tokenizer, max_length)
        return data.map(
            lambda batch: both(batch["text"]), batched=True, remove_columns=data.column_names, desc=None,
            keep_in_memory=len(data) <= 100_000,
        )  # fmt: skip

    return Plan(encoder(ours), model, step, params.phase, tokenizer=tokenizer, encode=encode)


def distill(params: TaskParams, given: Given) -> Plan:
    """The task, from the general student, in its own pieces."""
    assert given.student is not None
    return task_plan(given, given.student, params.task, params.phase, given.student_tokenizer)


def _starts(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase) -> list[list[int]]:
    """For each of the student's pieces, the teacher's for the same text."""
    pieces = student.convert_ids_to_tokens(list(range(len(student))))
    theirs = teacher.get_vocab()
    return [[theirs[piece]] if piece in theirs else cut(teacher, piece.removeprefix("##")) for piece in pieces]
