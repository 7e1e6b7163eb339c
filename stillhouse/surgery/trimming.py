"""Take pieces out of a vocabulary: a model and its tokenizer in, smaller ones out.

Word vectors are a table of a row a piece, and so is the decoder of a masked LM, with a number a piece beside it. Rows
of pieces that go are cut out; the others keep their numbers bit by bit, so the model says the same of every text whose
pieces all stay.

It goes before or after all other surgery: of factorized word vectors the table V×E is cut, of those in eight bits the
integers and the scales. Only what changes a quantized model's shape otherwise (`factorize` and its like) must come
before quantization.

V pieces, d width, E width of factorized word vectors.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.errors import InputError
from stillhouse.models.compact_modules import FactorizedEmbedding
from stillhouse.text.trimming import check_pieces, trim_tokenizer


def trim(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, keep: Sequence[int]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Keep some pieces; keep[i] has the id i afterwards.

    Args:
        model: left as it is; of any shape, with any head.
        tokenizer: its own, left as it is.
        keep: ids in order: what `stillhouse.text.trimming.needed_pieces` gives, `named_pieces` of the model among them.

    Raises:
        InputError: as `trim_tokenizer`; or the model has fewer rows than the tokenizer has pieces, or counts positions
            from a padding that is none of them.
    """
    words: Any = model.get_input_embeddings()
    if words.num_embeddings <= max(tokenizer.get_vocab().values()):
        raise InputError(
            f"the model has {words.num_embeddings} word vectors, its tokenizer {len(tokenizer)} pieces: "
            "give the tokenizer that it was saved with"
        )
    check_pieces(keep, named_pieces(model, tokenizer), tokenizer)
    new = {old: number for number, old in enumerate(keep)}
    first = _before_positions(model)
    if first is not None and new.get(first) != first:
        raise InputError(f"positions are counted from the padding's id {first}, which is no piece: mend pad_token_id")
    small_tokenizer = trim_tokenizer(tokenizer, keep)
    small = copy.deepcopy(model)
    rows = torch.tensor(list(keep), device=model.device)
    _cut_table(small, rows, new)
    _cut_decoder(small, rows, words.num_embeddings)
    _renumber(small.config, new)
    return small, small_tokenizer


def named_pieces(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of pieces that must stay for the model's sake, besides what its tokenizer needs.

    Those that its config names, and where positions are counted from the padding's id on (RoBERTa), all up to that.
    """
    named = {number for _, number in _named(model.config)}
    first = _before_positions(model)
    return (named | set(range(0 if first is None else first + 1))) & set(tokenizer.get_vocab().values())


def _before_positions(model: PreTrainedModel) -> int | None:
    """The padding's id, in the families whose position table has a row for it, and that count positions from it on."""
    words: Any = model.get_input_embeddings()
    inside = set(words.modules())
    tables = [part for part in model.modules() if isinstance(part, nn.Embedding) and part not in inside]
    return next((table.padding_idx for table in tables if table.padding_idx is not None), None)


def _cut_table(model: PreTrainedModel, rows: Tensor, new: dict[int, int]) -> None:
    words: Any = model.get_input_embeddings()
    table: Any = words.table if isinstance(words, FactorizedEmbedding) else words
    _cut(model, table, "weight", rows)
    if "scale" in table._buffers:  # in eight bits
        table.scale = _taken(table.scale, rows)
    table.num_embeddings = len(rows)
    if table.padding_idx is not None:
        # A config may name a row that no text has, beyond all pieces.
        table.padding_idx = new.get(table.padding_idx)


def _cut_decoder(model: PreTrainedModel, rows: Tensor, before: int) -> None:
    """A masked LM's, with its bias: what is tied to the table was cut with it."""
    decoder: Any = model.get_output_embeddings()
    if decoder is None:
        return
    for name, weight in list(decoder._parameters.items()):
        if weight is not None and len(weight) == before:
            _cut(model, decoder, name, rows)
    if isinstance(decoder, nn.Linear):
        decoder.out_features = len(rows)


def _cut(model: nn.Module, part: nn.Module, name: str, rows: Tensor) -> None:
    """Take rows of a weight, wherever the model uses that same weight."""
    old = part._parameters[name]
    assert old is not None
    left = nn.Parameter(_taken(old.detach(), rows), requires_grad=old.requires_grad)
    for module in model.modules():
        for key, weight in module._parameters.items():
            if weight is old:
                module._parameters[key] = left


def _taken(weight: Tensor, rows: Tensor) -> Tensor:
    # Not every device indexes float8's: their bytes are taken.
    plain = weight.view(torch.uint8) if weight.element_size() == 1 else weight
    return plain[rows].view(weight.dtype)


def _renumber(config: PreTrainedConfig, new: dict[int, int]) -> None:
    """The config's ids under their new numbers; one that no piece has becomes null, or leaves its list."""
    for name in {name for name, _ in _named(config)}:
        value = getattr(config, name)
        several = isinstance(value, list)
        setattr(config, name, [new[each] for each in value if each in new] if several else new.get(value))
    config.vocab_size = len(new)


def _named(config: PreTrainedConfig) -> list[tuple[str, int]]:
    """(field, id) of all ids of pieces that a config names."""
    fields = {name: value for name, value in config.to_dict().items() if name.endswith("_token_id")}
    several = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    return [(name, number) for name, numbers in several.items() for number in numbers if isinstance(number, int)]
