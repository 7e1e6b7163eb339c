"""Windows cover a context whole, overlap, and know where an answer stands."""

import itertools

import pytest
from transformers import RobertaTokenizerFast

from stillhouse.answers.windows import CLS, OUTSIDE, answer_place, cut_windows
from stillhouse.errors import InputError
from tests import tiny

TOKENIZER = tiny.tokenizer()
QUESTION = "the film is"
CONTEXT = "the plot is good and the actor is great but the story is very dull and the film feels bad"


def cut(question: str = QUESTION, context: str = CONTEXT, *, max_length: int = 14, overlap: int = 3, most: int = 4):
    return cut_windows([question], [context], TOKENIZER, max_length=max_length, overlap=overlap, question_length=most)


def words(columns: dict, i: int) -> list[str]:
    spans = zip(columns["starts"][i], columns["ends"][i], strict=True)
    return [CONTEXT[start:end] for start, end in spans if start != OUTSIDE]


def test_a_short_context_is_one_window_of_question_and_context() -> None:
    columns = cut(context="the plot is good")
    assert columns["example"] == [0]
    assert TOKENIZER.decode(columns["input_ids"][0]) == "[CLS] the film is [SEP] the plot is good [SEP]"
    assert columns["token_type_ids"] == [[0] * 5 + [1] * 5]
    assert columns["starts"] == [[OUTSIDE] * 5 + [0, 4, 9, 12, OUTSIDE]]


def test_windows_of_a_long_context_share_so_many_tokens_and_cover_all_of_it() -> None:
    columns = cut()
    seen = [words(columns, i) for i in range(len(columns["example"]))]
    assert len(seen) > 2
    for before, after in itertools.pairwise(seen):
        assert before[-3:] == after[:3]
    assert seen[0] + [word for window in seen[1:] for word in window[3:]] == CONTEXT.split()
    assert all(len(ids) <= 14 for ids in columns["input_ids"])
    assert all(TOKENIZER.decode(ids).startswith("[CLS] the film is [SEP]") for ids in columns["input_ids"])


def test_windows_say_whose_they_are() -> None:
    both = cut_windows(
        [QUESTION, QUESTION], [CONTEXT, "the plot is good"], TOKENIZER, max_length=14, overlap=3, question_length=4
    )
    assert both["example"] == [0] * (len(both["example"]) - 1) + [1]


def test_a_long_question_is_cut_and_its_context_is_not() -> None:
    columns = cut(question="the film is very very very very very good", context="the plot is good")
    assert TOKENIZER.decode(columns["input_ids"][0]) == "[CLS] the film is very [SEP] the plot is good [SEP]"


def test_a_window_without_room_is_refused() -> None:
    with pytest.raises(InputError, match=r"max_length = 9 has no room for a question of 4 tokens"):
        cut(max_length=9, overlap=2)


def test_an_answer_is_found_in_the_windows_that_hold_all_of_it_and_at_cls_in_the_others() -> None:
    columns = cut()
    at = CONTEXT.index("very dull")
    found = 0
    for i, (starts, ends) in enumerate(zip(columns["starts"], columns["ends"], strict=True)):
        first, last = answer_place(starts, ends, "very dull", at)
        if {"very", "dull"} <= set(words(columns, i)):
            assert CONTEXT[starts[first] : ends[last]] == "very dull"
            found += 1
        else:
            assert (first, last) == (CLS, CLS)
    assert 0 < found < len(columns["example"])


def test_an_answer_that_a_window_cuts_in_two_is_not_in_it() -> None:
    starts, ends = [OUTSIDE, OUTSIDE, 0, 4, OUTSIDE], [OUTSIDE, OUTSIDE, 3, 8, OUTSIDE]
    assert answer_place(starts, ends, "the plot", 0) == (2, 3)
    assert answer_place(starts, ends, "plot is", 4) == (CLS, CLS)


def test_white_space_around_an_answer_and_a_part_of_a_word_take_whole_words() -> None:
    columns = cut(context="the plot is good")
    place = lambda answer, at: answer_place(columns["starts"][0], columns["ends"][0], answer, at)  # noqa: E731
    assert place(" plot ", 3) == place("plot", 4) == place("lo", 5) == (6, 6)


def test_robertas_pairs_begin_with_cls_too(tmp_path) -> None:
    (tmp_path / "vocab.json").write_text('{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "Ġ": 4, "a": 5, "b": 6}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    roberta = RobertaTokenizerFast(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    columns = cut_windows(["a"], ["b a"], roberta, max_length=16, overlap=1, question_length=4)
    first, last = answer_place(columns["starts"][0], columns["ends"][0], "a", 2)
    assert "token_type_ids" not in columns
    assert "b a"[columns["starts"][0][first] : columns["ends"][0][last]].strip() == "a"
