import re
import tracemalloc
from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from stillhouse.encoders.checkpoint import load_tokenizer, same_vocabulary
from stillhouse.errors import InputError
from stillhouse.text.wordpiece import cut, train_wordpiece, words
from tests import tiny, tiny_mlm

TEXTS = tiny_mlm.sentences(40)


def trained(size=90):
    return train_wordpiece(TEXTS, tiny_mlm.tokenizer(), size)


def test_the_same_texts_give_the_same_pieces_with_the_same_ids_every_time():
    # The trainer's hash maps are seeded anew each time.
    first = trained().get_vocab()
    assert all(trained().get_vocab() == first for _ in range(5))


def test_the_vocabulary_has_the_size_that_was_asked_for_and_its_ids_have_no_gap():
    vocabulary = trained(90).get_vocab()
    assert sorted(vocabulary.values()) == list(range(90))
    assert [trained().convert_tokens_to_ids(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")] == [*range(5)]


def test_both_tokenizers_see_the_same_words_and_cut_gives_their_own_pieces():
    theirs, ours = tiny_mlm.tokenizer(), trained()
    differ = 0
    for text in TEXTS:
        assert words(theirs, text) == words(ours, text)
        for tokenizer in (theirs, ours):
            pieces = [piece for word in words(tokenizer, text) for piece in cut(tokenizer, word)]
            assert pieces == tokenizer(text, add_special_tokens=False)["input_ids"]
        differ += theirs.tokenize(text) != ours.tokenize(text)
    assert differ > 10


def test_known_letters_leave_no_word_unknown_and_casing_goes_as_with_the_teacher():
    ours = trained()
    assert all(ours.unk_token_id not in ours(text)["input_ids"] for text in TEXTS)
    assert ours("FILM")["input_ids"] == ours("film")["input_ids"]


def test_a_letter_too_rare_to_keep_is_unknown():
    texts = ["film plot scene " * 2000, "q"]
    ours = train_wordpiece(texts, tiny_mlm.tokenizer(), 60)
    assert "q" not in ours.get_vocab() and ours.tokenize("q film") == ["[UNK]", "film"]


def test_it_is_the_same_after_saving_and_reads_pairs(tmp_path):
    ours = trained()
    ours.save_pretrained(tmp_path)
    tiny.bert().save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert same_vocabulary(ours, again)
    pair = again("the film", "a plot!")
    assert dict(pair) == dict(ours("the film", "a plot!"))
    assert {*pair["token_type_ids"]} == {0, 1} and again.mask_token_id == ours.mask_token_id


def test_a_size_without_room_for_the_letters_is_refused():
    with pytest.raises(InputError, match=re.escape("vocabulary (20) is less than the")):
        trained(20)


def test_a_tokenizer_of_another_kind_is_refused():
    core = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    with pytest.raises(InputError, match="has a BPE tokenizer: this method needs BERT's WordPiece"):
        train_wordpiece(TEXTS, PreTrainedTokenizerFast(tokenizer_object=core), 90)


class Repeated(Sequence):
    """A corpus of any length that takes no memory."""

    def __init__(self, times):
        self.times = times

    def __len__(self):
        return self.times * len(TEXTS)

    def __getitem__(self, place):
        if place >= len(self):
            raise IndexError(place)
        return TEXTS[place % len(TEXTS)]


def test_memory_does_not_grow_with_the_sentences():
    def peak(times):
        tracemalloc.start()
        try:
            train_wordpiece(Repeated(times), tiny_mlm.tokenizer(), 90)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is loaded at the first call is not the sentences'
    assert peak(100) < peak(1) + 500_000  # a list of their words takes two megabytes more
