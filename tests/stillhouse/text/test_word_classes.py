"""The augmentation of the BiLSTM paper: its probabilities on many words, and what a copy is made of."""

from collections import Counter

import pytest

from stillhouse.text.word_classes import count_classes, replace_by_word_class
from stillhouse.text.word_tokenizer import word_spans

NOUNS, VERBS = ["film", "plot", "actor", "scene"], ["runs", "sings", "sleeps"]
FREQUENCY = {"film": 1, "plot": 2, "actor": 3, "scene": 4, "runs": 5, "sings": 1, "sleeps": 1, "!": 6}
MANY = " ".join(word for i in range(500) for word in (NOUNS[i % 4], VERBS[i % 3]))  # 1,000 words
CORPUS = [" ".join([word] * count) for word, count in FREQUENCY.items()]
NOTHING = {"rounds": 1, "mask": 0.0, "same_class": 0.0, "ngram": 0.0, "longest": 5, "mask_token": "[MASK]"}


def tag(words: list[str]) -> list[str]:
    return ["N" if word.lower() in NOUNS else "V" if word.lower() in VERBS else "." for word in words]


CLASSES = count_classes(CORPUS, tag)


def copies(*texts: str, seed: tuple[int, int] = (1, 0), **changes) -> list[tuple[str, ...]]:
    return replace_by_word_class(texts, tag, CLASSES, **NOTHING | {"seed": seed} | changes)


def words(text: str) -> list[str]:
    return text.split()


def test_without_any_probability_a_copy_is_the_text_to_the_byte():
    text = "  The film,\truns… “well”  "
    assert copies(text) == [(text,)]


def test_one_word_in_ten_is_masked_and_one_in_ten_replaced_by_another_of_its_class():
    masked = replaced = total = 0
    for (copy,) in copies(MANY, rounds=30, mask=0.1, same_class=0.1):
        for before, after in zip(words(MANY), words(copy), strict=True):
            total += 1
            masked += after == "[MASK]"
            if after not in ("[MASK]", before):
                replaced += 1
                assert tag([after]) == tag([before])
    assert total == 30_000
    # Five standard deviations of 30,000 coins at 0.1 are 0.0087.
    assert masked / total == pytest.approx(0.1, abs=0.0087)
    assert replaced / total == pytest.approx(0.1, abs=0.0087)


def test_the_other_word_is_drawn_by_its_frequency_and_never_the_word_itself():
    found = Counter(
        word for (copy,) in copies(" ".join(["plot"] * 400), rounds=40, same_class=1.0) for word in words(copy)
    )
    assert set(found) == {"film", "actor", "scene"}
    others = {"film": 1 / 8, "actor": 3 / 8, "scene": 4 / 8}
    for word, share in others.items():
        assert found[word] / 16_000 == pytest.approx(share, abs=0.02), word


def test_the_first_and_the_last_word_of_a_class_can_be_drawn_around():
    classes = count_classes(["film plot plot scene"], lambda found: ["N"] * len(found))
    for word, other in (("film", {"plot", "scene"}), ("plot", {"film", "scene"}), ("scene", {"film", "plot"})):
        assert {classes.another(word, "N", draw / 100) for draw in range(100)} == other


def test_a_word_alone_in_its_class_stays():
    assert copies("film !", same_class=1.0)[0][0].endswith(" !")
    assert count_classes(["film"], tag).another("film", "N", 0.5) is None


def test_a_replacement_is_written_like_the_word_it_stands_for():
    (copy,) = copies("Film! RUNS!", same_class=1.0)[0]
    noun, verb = copy.rstrip("!").split("! ")
    assert noun.istitle() and noun.lower() in NOUNS and verb.isupper() and verb.lower() in VERBS


def test_an_ngram_is_words_that_stood_side_by_side_with_what_stood_between_them():
    text = "The film,  runs - and the plot (sings)!"
    lengths = Counter()
    for (copy,) in copies(text, rounds=2000, ngram=1.0):
        assert copy in text
        lengths[len(word_spans(copy))] += 1
    assert set(lengths) == {1, 2, 3, 4, 5}
    for count in lengths.values():
        assert count / 2000 == pytest.approx(0.2, abs=0.05)


def test_a_quarter_of_the_copies_are_ngrams_and_each_place_is_as_likely():
    cut = [copy for (copy,) in copies(MANY, rounds=2000, ngram=0.25) if copy != MANY]
    assert len(cut) / 2000 == pytest.approx(0.25, abs=0.05)
    places = Counter(copy for (copy,) in copies("film plot actor scene", rounds=3000, ngram=1.0, longest=1))
    assert set(places) == set(NOUNS)
    assert all(count / 3000 == pytest.approx(0.25, abs=0.04) for count in places.values())


def test_a_text_shorter_than_the_ngram_or_empty_is_kept():
    assert copies("film", ngram=1.0, rounds=3) == [("film",)] * 3
    assert copies("", mask=1.0, ngram=1.0, rounds=2) == [("",)] * 2


def test_the_sides_of_a_pair_are_altered_in_turns_the_first_the_second_and_both():
    one, other = "film film film", "runs runs runs"
    masks = [(a != one, b != other) for a, b in copies(one, other, rounds=6, mask=1.0)]
    assert masks == [(True, False), (False, True), (True, True)] * 2


def test_a_copy_depends_on_the_seed_and_the_row_alone():
    settings = {"rounds": 20, "mask": 0.3, "same_class": 0.3, "ngram": 0.3}
    here = copies(MANY[:60], **settings)
    assert here == copies(MANY[:60], **settings)
    assert here != copies(MANY[:60], seed=(2, 0), **settings)
    assert here != copies(MANY[:60], seed=(1, 1), **settings)
