"""What a checkpoint, its tokenizer and the numbers of a stage must be to each other: one list, for whoever asks."""

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from stillhouse.errors import InputError
from stillhouse.families.find import FAMILIES, unknown
from stillhouse.families.names import family_name


def check_fit(
    source: object, config: Any, tokenizer: PreTrainedTokenizerBase, lengths: Mapping[str, int], pair: bool = False
) -> None:
    """Raise for the first fault that `misfits` finds.

    Args:
        source: the checkpoint, for the message.
        config: the model's.

    Raises:
        InputError: there is one.
    """
    for fault in misfits(config.to_dict(), tokenizer, lengths, pair):
        raise InputError(f"'{source}': {fault}")


def misfits(
    config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, lengths: Mapping[str, int], pair: bool
) -> Iterator[str]:
    """Each thing that would end in a traceback or in nonsense, in a line.

    Args:
        config: as config.json has it, which may leave out what is its family's default.
        tokenizer: the checkpoint's.
        lengths: tokens that it is to read, by the key of params.yaml that says so.
        pair: whether it is to read two texts at a time.
    """
    line = unknown(str(config.get("model_type")))
    if line is not None:
        yield line
        return
    family = FAMILIES[family_name(str(config["model_type"]))]
    line = family.check(config)
    if line is not None:
        yield line
    if tokenizer.pad_token_id is None:
        yield "its tokenizer has no padding token: set tokenizer.pad_token, and save it again"
    rows = config.get("vocab_size")
    if rows is not None and len(tokenizer) > rows:
        yield (
            f"its tokenizer knows {len(tokenizer)} tokens, its embeddings have {rows} rows: give the tokenizer that it "
            "was trained with"
        )
    places = longest_of(config)
    for key, tokens in lengths.items():
        if places is not None and tokens > places:
            yield f"{key} = {tokens}, but it reads {places} tokens at most: lower {key}"
    typed = "token_type_ids" in tokenizer.model_input_names and not family.types_ignored
    if pair and typed and config.get("type_vocab_size", 2) < 2:
        yield "its tokenizer tells the texts of a pair apart, its embeddings do not (type_vocab_size = 1): use another"


def depth_of(config: Mapping[str, Any]) -> int | None:
    """Layers that a config states, as config.json has it; None where it leaves them to its family's default."""
    family = FAMILIES.get(family_name(str(config.get("model_type"))))
    names = (family.config or {}).get("attribute_map", {}) if family else {}
    return config.get(names.get("num_hidden_layers", "num_hidden_layers"))


def longest_of(config: Mapping[str, Any]) -> int | None:
    """Tokens that an encoder has positions for; None where it counts none, or is of no known family."""
    family = FAMILIES.get(family_name(str(config.get("model_type"))))
    if family is not None:
        return family.longest(config)
    positions = config.get("max_position_embeddings")
    return None if positions is None else int(positions)
