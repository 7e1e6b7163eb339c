"""Both ways of augmenting that are timed make the same copies."""

from argparse import Namespace

import torch
from transformers import BertForMaskedLM

from benchmarks.augmentation import OneByOne, alike, batched, finder, word_by_word
from tests import tiny


def test_both_ways_make_the_same_copies() -> None:
    torch.manual_seed(3)
    model = BertForMaskedLM(tiny.bert().config).eval()
    texts = tiny.sentences(12)[0]
    args = Namespace(copies=6, candidates=4, replace=0.5, batch_size=5)
    find = finder(model, tiny.tokenizer(), args, max_length=64)
    ours = batched(find, texts, args)
    assert ours == word_by_word(OneByOne(find), texts, args) and sum(map(len, ours)) > len(texts)
    assert len(word_by_word(OneByOne(find, pair=True), texts, args)) == len(texts)
    assert alike([[("a",)], []], [[("a",)], [("b",)]]) == 0.5
