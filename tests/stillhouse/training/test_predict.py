"""`predict` gives each sentence the logits it has alone, in the order of the data."""

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets

from stillhouse.training.predict import TokenRows, predict
from tests import tiny

TOKENIZER = tiny.tokenizer()


def texts(count: int, seed: int = 0) -> list[str]:
    return tiny.sentences(count, seed)[0]


def test_logits_are_those_of_each_sentence_alone_in_the_order_of_the_data():
    model, plain = tiny.bert(labels=("a", "b", "c")), texts(37)
    rows = [{"input_ids": TOKENIZER(text)["input_ids"]} for text in plain]
    together = predict(model, rows, TOKENIZER, batch_size=8)
    with torch.inference_mode():
        alone = [model(**TOKENIZER(text, return_tensors="pt")).logits[0].numpy() for text in plain]
    assert together.shape == (37, 3)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


def test_a_dataset_and_a_list_of_its_rows_give_the_same_logits():
    model, pairs = tiny.bert(), zip(texts(9, seed=1), texts(9, seed=2), strict=True)
    rows = [dict(TOKENIZER(one, other, return_attention_mask=False)) | {"label": 0} for one, other in pairs]
    listed = predict(model, rows, TOKENIZER, batch_size=4)
    np.testing.assert_array_equal(listed, predict(model, Dataset.from_list(rows), TOKENIZER, batch_size=4))


@pytest.mark.parametrize("as_table", [True, False])
def test_rows_are_read_a_batch_at_a_time_and_the_longest_come_first(as_table):
    rows = [{"input_ids": list(range(count)), "token_type_ids": [0] * count, "label": 1} for count in (3, 5, 0, 5, 1)]
    held = TokenRows(Dataset.from_list(rows) if as_table else rows)
    assert held.longest_first() == [1, 3, 0, 4, 2]
    assert [row["input_ids"] for row in held.at([3, 0])] == [[0, 1, 2, 3, 4], [0, 1, 2]]
    assert [len(part) for part in held.in_order(2)] == [2, 2, 1]
    assert [row for part in held.in_order(2) for row in part] == held.at(range(5))
    assert set(held.at([0])[0]) == {"input_ids", "token_type_ids"}
    assert TokenRows(Dataset.from_list(rows).select([]) if as_table else []).longest_first() == []


def test_a_table_of_several_parts_and_of_some_rows_alone_gives_its_own_lengths():
    parts = [Dataset.from_list([{"input_ids": [1] * count} for count in counts]) for counts in ((1, 4), (3,), (2, 6))]
    table = concatenate_datasets(parts)
    assert TokenRows(table).longest_first() == [4, 1, 2, 3, 0]
    assert TokenRows(table.select([4, 0, 2])).longest_first() == [0, 2, 1]


def test_token_types_of_pairs_are_read():
    model = tiny.bert()
    row = dict(TOKENIZER("the film is good", "the plot is bad", return_attention_mask=False))
    flat = row | {"token_type_ids": [0] * len(row["input_ids"])}
    marked, unmarked = predict(model, [row, flat], TOKENIZER, batch_size=2)
    assert not np.allclose(marked, unmarked, atol=1e-3)


def test_train_mode_comes_back_and_dropout_is_off_meanwhile():
    model = tiny.bert().train()
    rows = [{"input_ids": TOKENIZER("the film is good")["input_ids"]}]
    first = predict(model, rows, TOKENIZER, batch_size=1)
    np.testing.assert_array_equal(first, predict(model, rows, TOKENIZER, batch_size=1))
    assert model.training


def test_a_regression_model_gives_one_column():
    rows = [{"input_ids": TOKENIZER(text)["input_ids"]} for text in texts(3)]
    assert predict(tiny.bert(labels=()), rows, TOKENIZER, batch_size=2).shape == (3, 1)
