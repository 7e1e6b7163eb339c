"""`predict` gives each sentence the logits it has alone, in the order of the data."""

import numpy as np
import torch
from datasets import Dataset

from stillhouse.training.predict import predict
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
