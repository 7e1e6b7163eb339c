"""Whether a checkpoint, its tokenizer and numbers fit: each fault has its line, and what fits has none."""

from typing import Any

import pytest

from stillhouse.encoders.fits import check_fit, longest_of, misfits
from stillhouse.encoders.measure import longest_input
from stillhouse.errors import InputError
from tests import tiny

FITS: dict[str, Any] = {"model_type": "bert", "vocab_size": 33, "max_position_embeddings": 64, "type_vocab_size": 2}


def test_what_fits_has_no_fault() -> None:
    assert list(misfits(FITS, tiny.tokenizer(), {"train.max_length": 64}, pair=True)) == []
    check_fit("x", tiny.bert().config, tiny.tokenizer(), {"train.max_length": 64}, pair=True)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model_type": "bloom"}, "model family 'bloom' is not one of bert, roberta"),
        ({"vocab_size": 20}, "its tokenizer knows 33 tokens, its embeddings have 20 rows"),
        (
            {"max_position_embeddings": 63},
            "train.max_length = 64, but it reads 63 tokens at most: lower train.",
        ),
        ({"model_type": "roberta", "pad_token_id": 1}, "train.max_length = 64, but it reads 62 tokens at most"),
        ({"type_vocab_size": 1}, "its tokenizer tells the texts of a pair apart, its embeddings do not"),
    ],
)
def test_each_fault_is_named_with_its_way_out(changes: dict, line: str) -> None:
    (found,) = misfits(FITS | changes, tiny.tokenizer(), {"train.max_length": 64}, pair=True)
    assert found.startswith(line) and "\n" not in found


def test_a_tokenizer_without_a_padding_token_is_a_fault() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = None
    with pytest.raises(InputError, match="'x': its tokenizer has no padding token"):
        check_fit("x", tiny.bert().config, tokenizer, {})


def test_the_longest_input_of_a_config_is_that_of_its_model() -> None:
    for model in (tiny.bert(), tiny.other_family("roberta"), tiny.other_family("electra")):
        assert longest_input(model) == longest_of(model.config.to_dict())
    assert longest_of({"model_type": "compact-roberta", "max_position_embeddings": 514, "pad_token_id": 1}) == 512
    assert longest_of({"model_type": "roberta", "max_position_embeddings": 514}) == 512
    assert longest_of({"model_type": "bilstm"}) is None
