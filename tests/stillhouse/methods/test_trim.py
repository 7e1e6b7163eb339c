"""trim: pieces are counted as they stand in the texts, the floor decides, and what is cut differently is counted."""

import re

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from stillhouse.encoders.measure import parameters
from stillhouse.errors import InputError
from stillhouse.methods.trim import count_pieces, cut_differently, pieces_that_stay
from stillhouse.surgery import trim
from stillhouse.text.trimming import first_pieces, needed_pieces, trim_tokenizer
from tests import pieces, tiny

TEXTS = pieces.texts(80, seed=1, words=60)


def model_for(kind: str) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_config(pieces.config(kind))


def test_pieces_are_counted_as_often_as_they_stand_in_whole_texts():
    tokenizer = tiny.tokenizer()
    counts = count_pieces(tokenizer, ["the film is good", "the the film", *["a"] * 2000, "good " * 700])
    found = {piece: count for piece, count in zip(tiny.SPECIAL + tiny.WORDS, counts.tolist(), strict=True) if count}
    assert found == {"the": 3, "film": 2, "is": 1, "good": 701, "a": 2000}


@pytest.mark.parametrize("kind", pieces.KINDS)
def test_the_floor_decides_besides_what_is_needed(kind):
    model, tokenizer = model_for(kind), pieces.tokenizer(kind)
    counts = count_pieces(tokenizer, TEXTS)
    needed, before = set(needed_pieces(tokenizer, [])), set(range(len(tokenizer)))
    for floor in (1, 2, 5, 20):
        stay = set(pieces_that_stay(model, tokenizer, counts, floor))
        assert needed | set(np.flatnonzero(counts >= floor)) <= stay < before
        if kind != "BPE":  # which needs what lies on the way
            assert stay == needed | set(np.flatnonzero(counts >= floor))
        before = stay
    assert pieces_that_stay(model, tokenizer, counts, counts.max() + 1) == sorted(needed)


@pytest.mark.parametrize("kind", pieces.KINDS)
def test_the_first_pieces_of_the_tokenizer_stay_whatever_was_counted(kind):
    model, tokenizer = model_for(kind), pieces.tokenizer(kind)
    counts = count_pieces(tokenizer, TEXTS[:2])
    needed = set(needed_pieces(tokenizer, []))
    others = [number for number in range(len(tokenizer)) if number not in needed]
    first = first_pieces(tokenizer, 50)
    assert first == others[:50] and first_pieces(tokenizer, 10_000) == others
    counted = set(pieces_that_stay(model, tokenizer, counts, 1))
    assert set(pieces_that_stay(model, tokenizer, counts, 1, 50)) >= {*counted, *first} > counted
    assert pieces_that_stay(model, tokenizer, counts, 1, 10_000) == list(range(len(tokenizer)))
    cut = [
        cut_differently(tokenizer, trim_tokenizer(tokenizer, keep), [[text] for text in TEXTS]).tokens
        for keep in (pieces_that_stay(model, tokenizer, counts, 1, count) for count in (0, 50, 150, 10_000))
    ]
    assert cut == sorted(cut, reverse=True) and cut[0] > cut[2] and cut[3] == 0


def test_words_that_no_text_can_have_are_none_of_the_first():
    ids = {piece: i for i, piece in enumerate(["[UNK]", "[unused0]", "a", "##a", "aa", "[unused1]", "##aa", "aaa"])}
    assert first_pieces(_wordpiece(ids), 2) == [ids["aa"], ids["##aa"]]


def test_what_goes_is_a_row_of_the_word_vectors_a_piece():
    model, tokenizer = model_for("WordPiece"), pieces.tokenizer("WordPiece")
    keep = pieces_that_stay(model, tokenizer, count_pieces(tokenizer, TEXTS), 1)
    small, _ = trim(model, tokenizer, keep)
    assert parameters(model) - parameters(small) == 32 * (len(tokenizer) - len(keep))


@pytest.mark.parametrize("kind", pieces.KINDS)
def test_nothing_is_cut_differently_where_all_pieces_were_counted(kind):
    model, tokenizer = model_for(kind), pieces.tokenizer(kind)
    ours = trim_tokenizer(tokenizer, pieces_that_stay(model, tokenizer, count_pieces(tokenizer, TEXTS), 1))
    same = cut_differently(tokenizer, ours, [[text] for text in TEXTS])
    assert (same.rows, same.tokens, same.longer) == (0, 0, 1)
    other = cut_differently(tokenizer, ours, [[text] for text in pieces.texts(200, seed=2)])
    assert 0 < other.tokens < other.rows <= 1 and other.longer > 1


def test_a_row_is_cut_differently_if_one_of_its_texts_is():
    ids = {piece: i for i, piece in enumerate(["[UNK]", "a", "##a", "b", "##b", "aab", "ab"])}
    tokenizer = _wordpiece(ids)
    ours = trim_tokenizer(tokenizer, needed_pieces(tokenizer, [ids["ab"]]))
    rows = [["ab", "ab"], ["a", "aab ab"], ["aab", "aab"], ["b", ""]]
    share = cut_differently(tokenizer, ours, rows)
    # aab becomes a, ##a, ##b: three tokens for each of three.
    assert (share.rows, share.tokens, share.longer) == (2 / 4, 3 / 8, 14 / 8)


def test_texts_without_a_piece_are_refused():
    model, tokenizer = tiny.bert(), tiny.tokenizer()
    with pytest.raises(InputError, match=re.escape("the texts that pieces are counted in are empty")):
        pieces_that_stay(model, tokenizer, count_pieces(tokenizer, ["", " "]), 1)


def _wordpiece(ids):
    core = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")
