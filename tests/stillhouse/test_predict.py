"""`predict` gives each sentence the logits it has alone, in the order of the data."""

import numpy as np
import torch
from datasets import Dataset

from stillhouse.predict import predict
from tests.measured import sentences, tiny_bert, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def test_logits_are_those_of_each_sentence_alone_in_the_order_of_the_data():
    model, texts = tiny_bert(labels=("a", "b", "c")), sentences(37)
    rows = [{"input_ids": TOKENIZER(text)["input_ids"]} for text in texts]
    together = predict(model, rows, TOKENIZER, batch_size=8)
    with torch.inference_mode():
        alone = [model(**TOKENIZER(text, return_tensors="pt")).logits[0].numpy() for text in texts]
    assert together.shape == (37, 3)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


def test_a_dataset_and_a_list_of_its_rows_give_the_same_logits():
    model, pairs = tiny_bert(), zip(sentences(9, seed=1), sentences(9, seed=2), strict=True)
    rows = [dict(TOKENIZER(one, other, return_attention_mask=False)) | {"label": 0} for one, other in pairs]
    listed = predict(model, rows, TOKENIZER, batch_size=4)
    np.testing.assert_array_equal(listed, predict(model, Dataset.from_list(rows), TOKENIZER, batch_size=4))


def test_token_types_of_pairs_are_read():
    model = tiny_bert()
    row = dict(TOKENIZER("the cat sat", "a dog ran", return_attention_mask=False))
    flat = row | {"token_type_ids": [0] * len(row["input_ids"])}
    marked, unmarked = predict(model, [row, flat], TOKENIZER, batch_size=2)
    assert not np.allclose(marked, unmarked, atol=1e-3)


def test_train_mode_comes_back_and_dropout_is_off_meanwhile():
    model = tiny_bert().train()
    rows = [{"input_ids": TOKENIZER("the cat sat")["input_ids"]}]
    first = predict(model, rows, TOKENIZER, batch_size=1)
    np.testing.assert_array_equal(first, predict(model, rows, TOKENIZER, batch_size=1))
    assert model.training


def test_a_regression_model_gives_one_column():
    rows = [{"input_ids": TOKENIZER(text)["input_ids"]} for text in sentences(3)]
    assert predict(tiny_bert(labels=()), rows, TOKENIZER, batch_size=2).shape == (3, 1)
