import pytest

from stillhouse.text.likely_words import Place, Texts, replace_with_likely_words
from stillhouse.text.words import WORD, content_word_spans, is_content_word, replace_words, written_like

POOL = [f"new{letter}" for letter in "abcdefghij"]


def pool(places: list[Place]) -> list[list[str]]:
    """Ten candidates for every word."""
    return [[f"{word}x" for word in POOL] for _ in places]


def rows(*texts: str | Texts) -> list[tuple[int, Texts]]:
    return [(i, (text,) if isinstance(text, str) else text) for i, text in enumerate(texts)]


def words(text: str) -> list[str]:
    return [match.group() for match in WORD.finditer(text)]


def test_with_probability_one_every_content_word_of_every_copy_is_replaced() -> None:
    text = "The dull film , slow and loud , isn't great ."
    [copies] = replace_with_likely_words(rows(text), pool, copies=8, replace=1.0, seed=3)
    assert len(copies) == 8
    for (copy,) in copies:
        for before, after in zip(words(text), words(copy), strict=True):
            assert (after != before) == is_content_word(before)


def test_with_probability_zero_there_are_no_copies_and_no_candidates_are_asked_for() -> None:
    asked: list[Place] = []

    def find(places: list[Place]) -> list[list[str]]:
        asked.extend(places)
        return pool(places)

    assert replace_with_likely_words(rows("a dull film", "great"), find, copies=5, replace=0.0, seed=1) == [[], []]
    assert asked == []


def test_candidates_are_asked_for_exactly_where_a_copy_replaces_a_word() -> None:
    asked: list[Place] = []

    def find(places: list[Place]) -> list[list[str]]:
        asked.extend(places)
        return [[text[start:end] + "new"] for text, start, end in places]

    texts = [f"film {i} scene story plot music actor".replace(str(i), "abcdefghij"[i] * 3) for i in range(10)]
    results = replace_with_likely_words(rows(*texts), find, copies=2, replace=0.3, seed=1)
    replaced = set()
    for text, copies in zip(texts, results, strict=True):
        for (copy,) in copies:
            for span, after in zip(content_word_spans(text), words(copy), strict=True):
                if after.endswith("new"):
                    replaced.add((text, *span))
    assert replaced == set(asked)
    assert len(asked) == len(set(asked)) < sum(len(content_word_spans(text)) for text in texts)


def test_words_are_replaced_as_often_as_the_probability_says() -> None:
    text = " ".join(["film"] * 500)
    [copies] = replace_with_likely_words(rows(text), pool, copies=20, replace=0.4, seed=2)
    share = sum(word != "film" for (copy,) in copies for word in copy.split()) / (500 * 20)
    assert share == pytest.approx(0.4, abs=0.02)


def test_candidates_are_drawn_evenly() -> None:
    text = " ".join(["film"] * 1000)
    [copies] = replace_with_likely_words(rows(text), pool, copies=10, replace=1.0, seed=2)
    drawn = [word for (copy,) in copies for word in copy.split()]
    for candidate in pool([("", 0, 0)])[0]:
        assert drawn.count(candidate) / len(drawn) == pytest.approx(0.1, abs=0.015)


def test_a_row_depends_on_the_seed_and_its_index_alone() -> None:
    data = rows(*(f"dull film {'abcdefgh'[i] * 2} story" for i in range(8)))
    together = replace_with_likely_words(data, pool, copies=4, replace=0.5, seed=7)
    alone = [replace_with_likely_words([row], pool, copies=4, replace=0.5, seed=7)[0] for row in data]
    assert together == alone
    assert replace_with_likely_words(data[::-1], pool, copies=4, replace=0.5, seed=7) == together[::-1]
    assert replace_with_likely_words(data, pool, copies=4, replace=0.5, seed=8) != together


def test_equal_texts_in_different_rows_get_different_copies() -> None:
    one, other = replace_with_likely_words(
        rows("dull film story plot", "dull film story plot"), pool, copies=3, replace=0.5, seed=7
    )
    assert one != other


def test_pairs_never_mix_rows_and_both_sides_change() -> None:
    pairs = [(f"left{'abcdef'[i]} film", f"right{'abcdef'[i]} story") for i in range(6)]

    def own(places: list[Place]) -> list[list[str]]:
        return [[f"{text.split()[0]}{c}" for c in "xyz"] for text, _, _ in places]

    results = replace_with_likely_words(rows(*pairs), own, copies=6, replace=0.5, seed=4)
    changed = [0, 0]
    for i, copies in enumerate(results):
        assert copies
        for left, right in copies:
            assert all(word.startswith(f"left{'abcdef'[i]}") or word == "film" for word in left.split())
            assert all(word.startswith(f"right{'abcdef'[i]}") or word == "story" for word in right.split())
            changed[0] += left != pairs[i][0]
            changed[1] += right != pairs[i][1]
    assert min(changed) > 0


def test_copies_are_distinct_and_never_the_original() -> None:
    results = replace_with_likely_words(
        rows(*["dull film"] * 50), lambda places: [["one"] for _ in places], copies=20, replace=0.5, seed=1
    )
    for copies in results:
        assert len(set(copies)) == len(copies) <= 3
        assert ("dull film",) not in copies


def test_what_is_not_replaced_stays_byte_for_byte() -> None:
    text = "\tDULL , film… — 7 of 10;  isn't   Great!\n"
    [copies] = replace_with_likely_words(
        rows(text),
        lambda places: [["x"] if "film" in t[a:b] else [] for t, a, b in places],
        copies=1,
        replace=1.0,
        seed=0,
    )
    assert copies == [("\tDULL , x… — 7 of 10;  isn't   Great!\n",)]


def test_a_text_without_words_has_no_copies() -> None:
    assert replace_with_likely_words(rows("", " ... ", "7 of 10"), pool, copies=3, replace=1.0, seed=0) == [[], [], []]


def test_words_are_letters_only_and_no_stop_words() -> None:
    text = "The state-of-the-art np_array isn't x2 good, 3rd café!"
    assert [text[a:b] for a, b in content_word_spans(text)] == ["state", "art", "np", "array", "good", "café"]


def test_a_replacement_takes_the_casing_of_the_word() -> None:
    assert written_like("Film", "movie") == "Movie"
    assert written_like("FILM", "movie") == "MOVIE"
    assert written_like("film", "movie") == "movie"
    assert written_like("film", "Paris") == "Paris"
    assert replace_words("a film here", {(2, 6): "movie"}) == "a movie here"
