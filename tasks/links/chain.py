"""A student's last links, one after the other; each says what it does, or why it is left out."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.families import word_embeddings
from stillhouse.encoders.measure import parameters
from stillhouse.errors import InputError
from stillhouse.families.find import family_of
from stillhouse.methods import lowrank
from stillhouse.surgery import factorize_embedding, quantize
from stillhouse.surgery.factorizing import saves
from stillhouse.surgery.quantizing import check_quantizable, quantized
from stillhouse.surgery.rebuild import shape_of
from stillhouse.text.trimming import KINDS, kind_of
from tasks.kinds.contract import Task
from tasks.links.params import Factorize, Int8, Links, Trim
from tasks.links.rounding import ranges_of
from tasks.links.trimming import say_what_is_cut, texts_of, trimmed
from tasks.stage.params import Block

Model = tuple[PreTrainedModel, PreTrainedTokenizerBase]


class LeftOut(Exception):
    """A link has nothing to do on this model; the message says why."""


def finished(
    links: Links, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task, others: Sequence[str] = ()
) -> Model | None:
    """The model and its tokenizer after all links that it takes; None where it takes none.

    Args:
        model: left as it is.
        tokenizer: its own.
        task: whose training rows say which pieces stay, and calibrate.
        others: texts that say which pieces stay too.

    Raises:
        InputError: a link's numbers do not fit the model.
    """
    made, took = (model, tokenizer), False
    steps: tuple[tuple[str, Callable[..., Model], Block | None], ...] = (
        ("trim", partial(_trim, others=others), links.trim),
        ("factorize", _factorize, links.factorize),
        ("int8", _int8, links.int8),
    )
    for name, link, numbers in steps:
        if numbers is None:
            continue
        try:
            made, took = link(numbers, *made, task), True
        except LeftOut as why:
            print(f"{name} is left out: {why}", flush=True)
        else:
            print(f"{name}: {parameters(made[0]):,} of {parameters(model):,} parameters", flush=True)
    return made if took else None


def _trim(
    params: Trim, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task, others: Sequence[str]
) -> Model:
    if (kind := kind_of(tokenizer)) not in KINDS:
        raise LeftOut(f"the pieces of a {kind} tokenizer cannot be trimmed")
    train, validation = (texts_of(rows, task.kind.present) for rows in (task.train, task.validation))
    texts = [*chain.from_iterable(train), *others]
    small, ours = trimmed(model, tokenizer, texts, params.floor, params.first)
    if len(ours) == len(tokenizer):
        raise LeftOut("all pieces stay")
    say_what_is_cut(tokenizer, ours, validation)
    return small, ours


def _factorize(params: Factorize, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task) -> Model:
    try:
        shape = shape_of(model)
        family_of(model).allow(model, "words")
    except InputError as error:
        raise LeftOut(str(error)) from None
    if shape.embedding_size != shape.hidden_size:
        raise LeftOut(f"the word vectors are factorized already, to {shape.embedding_size}")
    words = word_embeddings(model).weight.detach()  # (V, d)
    rank = lowrank.rank_of_energy(lowrank.energies(words), params.energy)
    sizes = f"{words.shape[0]:,}×{words.shape[1]}"
    if not saves(words.shape[0], words.shape[1], rank):
        raise LeftOut(f"word vectors of {sizes} take rank {rank} for {params.energy:g} of their energy, no saving")
    print(f"word vectors {sizes}: rank {rank} keeps {params.energy:g} of their energy", flush=True)
    return factorize_embedding(model, rank), tokenizer


def _int8(params: Int8, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task) -> Model:
    try:
        check_quantizable(model)
    except InputError as error:
        weights = quantized(model)
        raise LeftOut(str(error) if weights is None else f"the weights are in {weights} already") from None
    ranges = None
    if params.calibration is not None:
        ranges = ranges_of(model, params.calibration, task.kind, task.train, tokenizer)
    return quantize(model, embeddings=params.embeddings, ranges=ranges, reduce_range=params.reduce_range), tokenizer
