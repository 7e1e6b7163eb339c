"""Where words stand, in texts as people write them."""

import pytest

from stillhouse.tagging.words import joined, split_words, word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mr. O'Brien, 3.5 %", ["Mr", ".", "O", "'", "Brien", ",", "3", ".", "5", "%"]),
        ("snake_case2 x", ["snake_case2", "x"]),
        ("wow 😂👍🏽!", ["wow", "😂", "👍", "🏽", "!"]),
        ("👩\u200d👧 ❤️", ["👩\u200d👧", "❤️"]),
        ("שָׁלוֹם תל־אביב", ["שָׁלוֹם", "תל", "־", "אביב"]),
        ("cafe\u0301\u00a0noir", ["cafe\u0301", "noir"]),
        ("東京へ", ["東京へ"]),
        (" \t\n", []),
    ],
)
def test_a_run_of_letters_is_a_word_and_every_other_sign_is_one(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in split_words(text)] == words


def test_joined_words_are_found_again() -> None:
    words = ["a\u00a0b", "😂", "x"]
    text, spans = joined(words)
    assert [text[start:end] for start, end in spans] == words and word_spans(text) == spans
