"""bilstm: a BiLSTM over word vectors learns the teacher's logits, on the task with its augmentation.

When to use it: speed is what counts and rows are many: a layer of BiLSTM is the fastest student that is not rounded,
and has a fraction of the weights. Where rows are few, or each word's place or a rare name decides, it keeps little.
"""

from pathlib import Path

from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

import stillhouse.models.modeling_bilstm
import stillhouse.models.modeling_bilstm_answers
import stillhouse.models.modeling_bilstm_tokens  # noqa: F401 - what a student may be, so that DVC knows of it
from stillhouse.errors import InputError
from stillhouse.methods import bilstm as method
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.text.word_tokenizer import word_tokenizer
from stillhouse.text.word_vectors import read_vectors
from stillhouse.training.batches import Batch, model_inputs
from tasks.kinds.contract import Kind
from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.stage.params import Block, Phase


class BiLstmParams(Block):
    """`student` of `bilstm`: its shape."""

    embedding_size: int | None = Field(gt=0, description="Width of the word vectors; null for that of `vectors`")
    hidden_size: int = Field(gt=0, description="LSTM units in each direction")
    dense_size: int = Field(gt=0, description="Units of the ReLU layer")
    dropout: float = Field(ge=0, lt=1, description="Of the word vectors and of the ReLU layer")


class Distill(Block):
    """`bilstm.distill` in params.yaml."""

    student: BiLstmParams
    vocabulary: int = Field(gt=3, description="The most frequent words of the training set are known, so many at most")
    min_count: int = Field(gt=0, description="A word that stands there less often is unknown")
    vectors: str = Field(description="random, teacher (its input embeddings), or a GloVe-format file")
    alpha: float = Field(ge=0, le=1, description="α, weight of the labels; the teacher's logits have 1 − α")
    phase: Phase
    rows: str = Field(description="What it trains on; dvc.yaml reads it")


class Params(Block):
    """`bilstm` in params.yaml."""

    distill: Distill


def distill(params: Distill, given: Given) -> Plan:
    """The only phase."""
    kind = given.kind
    assert given.task is not None
    mask = given.tokenizer.mask_token
    if mask is None:
        raise InputError(f"'{given.tokenizer.name_or_path}': the teacher's tokenizer has no mask token: set one there")
    texts = [text for side in given.kind.present for text in given.task.train[side]]
    tokenizer = word_tokenizer(texts, size=params.vocabulary, least=params.min_count, mask=mask, cls=kind.per_token)
    student = make_student(params, given.kind, tokenizer, starting_vectors(params, given, tokenizer))

    def step(model: nn.Module, batch: Batch) -> dict:
        logits = kind.predicted(model(**model_inputs(batch)), batch)
        return method.distillation_loss(logits, kind.taught(batch), kind.labels(batch), params.alpha)

    return Plan(student, student, step, params.phase, teacher_logits=True, tokenizer=tokenizer)


def refuses(kind: type[Kind]) -> str | None:
    """Why the recipe does not do a kind of task; None where it does."""
    try:
        kind.auto.from_config(BiLstmConfig())  # type: ignore[attr-defined]
    except ValueError:
        return f"there is no BiLSTM of class …{kind.head}"
    return None


def starting_vectors(params: Distill, given: Given, tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """What is known of the vocabulary's words before training; nothing for `random`.

    Raises:
        InputError: a damaged or missing file.
    """
    special = set(tokenizer.all_special_tokens)
    words = [word for word in tokenizer.get_vocab() if word not in special]
    if params.vectors == "random":
        return {}
    if params.vectors == "teacher":
        return method.piece_vectors(words, given.teacher, given.tokenizer)
    wanted = set(words)
    return dict(zip(*read_vectors(Path(params.vectors), wanted.__contains__, "bilstm.distill.vectors"), strict=True))


def make_student(
    params: Distill, kind: Kind, tokenizer: PreTrainedTokenizerBase, vectors: dict[str, Tensor]
) -> PreTrainedModel:
    """The student before training.

    Raises:
        InputError: a width of the word vectors that cannot be.
    """
    shape = params.student
    width = shape.embedding_size or (len(next(iter(vectors.values()))) if vectors else None)
    if width is None:
        raise InputError(
            "bilstm.distill.student.embedding_size = null: random vectors have no width of their own: give one"
        )
    config = BiLstmConfig(
        vocab_size=len(tokenizer),
        embedding_size=width,
        hidden_size=shape.hidden_size,
        dense_size=shape.dense_size,
        pair=kind.pair,
        dropout=shape.dropout,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind.describe(config)
    set_seed(params.phase.seed)
    student = kind.auto.from_config(config)  # type: ignore[attr-defined]
    if vectors:
        known = method.start_from(student.get_input_embeddings(), tokenizer.get_vocab(), vectors)
        print(f"{known} of {len(tokenizer)} tokens start from {params.vectors}, {width} wide", flush=True)
    return student
