"""Make a student: a smaller model of the teacher's family, from some of its layers or from random weights."""

import copy
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import head_in
from stillhouse.errors import InputError
from stillhouse.families.find import family_of
from stillhouse.families.names import COMPACT


def build_student(
    teacher: PreTrainedModel,
    *,
    layers: int,
    hidden_size: int | None = None,
    heads: int | None = None,
    intermediate_size: int | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    source_layers: list[int] | None,
    seed: int,
) -> PreTrainedModel:
    """A student of the teacher's class.

    Args:
        teacher: gives the family, vocabulary and head, and the weights of `source_layers`.
        layers: depth of the student.
        hidden_size, heads, intermediate_size: its width; None for the teacher's.
        tokenizer: of a vocabulary of its own, for a student of random weights; None for the teacher's vocabulary.
        source_layers: the teacher's layers to start from, counted from 1; None starts from random weights.
        seed: of the random weights.

    Raises:
        InputError: a width that the heads do not divide, source layers that do not fit, or a compressed teacher.
    """
    shape: Any = teacher.config
    family = family_of(teacher)
    if shape.model_type.startswith(COMPACT):
        raise InputError(f"a student is built from a plain teacher, not from one of shape '{shape.model_type}'")
    hidden_size = hidden_size or shape.hidden_size
    heads = heads or shape.num_attention_heads
    units = getattr(shape, family.units)
    intermediate_size = intermediate_size or units
    if hidden_size % heads:
        raise InputError(f"student.hidden_size ({hidden_size}) must be divisible by student.heads ({heads})")
    config = copy.deepcopy(shape)
    config.hidden_size = hidden_size
    config.num_attention_heads = heads
    setattr(config, family.units, intermediate_size)
    if source_layers is not None:
        _check_source(source_layers, layers, shape.num_hidden_layers)
    family.resize(config, None if source_layers is None else [n - 1 for n in source_layers], layers)
    if tokenizer is not None:
        assert source_layers is None
        config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = type(teacher)(config)
    if source_layers is not None:
        same = (shape.hidden_size, shape.num_attention_heads, units)
        if (hidden_size, heads, intermediate_size) != same:
            raise InputError(
                f"student.init = 'teacher' needs the teacher's width {same}, not "
                f"{(hidden_size, heads, intermediate_size)}: set student.init to 'random'"
            )
        _copy_layers(teacher, student, source_layers)
    return student.eval()


def give_head(base: PreTrainedModel, teacher: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A model of the teacher's class, compressed if the student is, around a student without a head.

    Where the widths agree the head (with BERT's pooler) starts from the teacher's, else from random weights. The base's
    own pooler is left behind: loading a base that was saved without one fills it with weights that no seed decides.

    Args:
        base: the student's encoder.
        teacher: a fine-tuned model with the head.
        seed: of random weights.
    """
    config = copy.deepcopy(base.config)
    # The number of labels follows from their names.
    for name in ("id2label", "label2id", "problem_type"):
        setattr(config, name, copy.deepcopy(getattr(teacher.config, name)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = _of_the_teachers_kind(teacher, config)
    encoder = {name: value for name, value in base.state_dict().items() if not name.startswith("pooler.")}
    student.base_model.load_state_dict(encoder, strict=False)
    if base.config.hidden_size == teacher.config.hidden_size:
        inside = f"{teacher.base_model_prefix}."
        head = {
            name: value
            for name, value in teacher.state_dict().items()
            if not name.startswith(inside) or name.startswith(f"{inside}pooler.")
        }
        student.load_state_dict(head, strict=False)
    return student.eval()


def _of_the_teachers_kind(teacher: PreTrainedModel, config: Any) -> PreTrainedModel:
    if not config.model_type.startswith(COMPACT):
        return type(teacher)(config)
    return getattr(transformers, f"AutoModelFor{head_in(type(teacher).__name__)}").from_config(config)


def spread_layers(count: int, depth: int) -> list[int]:
    """`count` of `depth` layers, evenly spaced, the last one among them, counted from 1: 3 of 6 gives [2, 4, 6].

    The i-th is layer i·depth/count, halves rounded up. To even, as `round` has it, they would bunch: 8 of 12 would have
    the gaps 2 1 1 2 2 1 1 2.

    Raises:
        InputError: more layers than there are.
    """
    if count > depth:
        raise InputError(
            f"student.layers ({count}) is more than the teacher's {depth}: lower it, or set init to 'random'"
        )
    return [(2 * (i + 1) * depth + count) // (2 * count) for i in range(count)]


def _check_source(source_layers: list[int], layers: int, depth: int) -> None:
    if len(source_layers) != layers:
        raise InputError(f"source_layers {source_layers} names {len(source_layers)} layers for a student of {layers}")
    missing = [n for n in source_layers if not 1 <= n <= depth]
    if missing:
        raise InputError(f"source_layers {source_layers}: the teacher has layers 1 to {depth}, not {missing}")


def _copy_layers(teacher: PreTrainedModel, student: PreTrainedModel, source_layers: list[int]) -> None:
    family = family_of(teacher)
    inside = family.in_layer
    # Everything but the layers: embeddings, pooler, classifier.
    rest = {name: value for name, value in teacher.state_dict().items() if not inside.match(name)}
    student.load_state_dict(rest, strict=False)
    family.copy_layers(teacher, student, [number - 1 for number in source_layers])
