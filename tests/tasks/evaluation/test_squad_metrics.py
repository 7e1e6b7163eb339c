"""SQuAD 2.0's metrics, on cases computed by hand, and compared with another way to compute them."""

import random
import re
import string

import pytest

from tasks.evaluation.squad_metrics import best_threshold, compute, exact, f1, normalize


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The Still,  of an\tOak-cask!", "still of oakcask"),
        ("a", ""),
        ("anthem of the theatre", "anthem of theatre"),
        ("U.S.A.", "usa"),
        ("$1,000.50", "100050"),
        ("Ogród Saski – é", "ogród saski – é"),
        ("the-a an", "thea"),
    ],
)
def test_texts_are_compared_without_case_punctuation_articles_and_extra_space(text: str, wanted: str) -> None:
    assert normalize(text) == wanted


@pytest.mark.parametrize(
    ("given", "right", "em", "overlap"),
    [
        ("the copper still", "Copper still.", 1, 1),
        ("copper", "copper still", 0, 2 / 3),  # precision 1, recall 1/2
        ("a copper still of oak", "copper cask", 0, 1 / 3),  # 1 of 4, 1 of 2
        ("oak oak oak", "oak oak", 0, 0.8),  # 2 of 3, 2 of 2
        ("oak", "copper", 0, 0),
        ("", "", 1, 1),
        ("oak", "", 0, 0),
        ("", "oak", 0, 0),
        ("the", "", 1, 1),  # nothing is left of it
    ],
)
def test_exact_match_and_f1_of_one_answer(given: str, right: str, em: float, overlap: float) -> None:
    assert exact(given, right) == em
    assert f1(given, right) == pytest.approx(overlap)


def test_scores_by_hand() -> None:
    answers = [["copper still", "still"], ["oak"], [], []]
    given = ["the still", "", "", "cask"]
    scores = compute(answers, given, ["the still", "oak", "wood", "cask"], [-2.0, 0.5, 1.0, -1.0])
    assert scores["exact"] == scores["f1"] == 0.5  # the first by its second answer, the third by none
    assert scores["has_answer_exact"] == scores["no_answer_exact"] == 0.5
    # In order of the odds: the first answered (+1), the fourth (−1), the second (+1), the third (−1).
    assert (scores["best_f1"], scores["best_f1_threshold"]) == (0.75, -2.0)
    assert (scores["best_exact"], scores["best_exact_threshold"]) == (0.75, -2.0)


def test_an_answer_of_articles_alone_counts_as_none() -> None:
    scores = compute([["The"]], [""], ["the"], [0.0])
    assert scores["exact"] == scores["f1"] == scores["has_answer_f1"] == 1.0


def test_parts_that_no_question_is_of_are_left_out() -> None:
    assert "no_answer_f1" not in compute([["oak"]], ["oak"], ["oak"], [0.0])
    assert "has_answer_f1" not in compute([[]], [""], ["oak"], [0.0])


def test_a_threshold_of_zero_stands_for_answering_nothing() -> None:
    assert best_threshold([0.0, 0.0], ["a b", "c"], [-3.0, -4.0], [False, True]) == (0.5, 0.0)


def independent(answers: list[list[str]], given: list[str]) -> tuple[float, float]:
    """Exact match and F1, by removing words from lists."""

    def words(text: str) -> list[str]:
        kept = "".join(char for char in text.lower() if char not in set(string.punctuation))
        return [word for word in re.split(r"\s+", kept) if word and word not in ("a", "an", "the")]

    em = overlap = 0.0
    for texts, text in zip(answers, given, strict=True):
        best = [0.0, 0.0]
        for right in [each for each in texts if words(each)] or [""]:
            ours, theirs, shared = words(text), words(right), 0
            rest = list(theirs)
            for word in ours:
                if word in rest:
                    rest.remove(word)
                    shared += 1
            both = 1.0 if not ours and not theirs else 2 * shared / (len(ours) + len(theirs))
            best = [max(best[0], float(ours == theirs)), max(best[1], both)]
        em, overlap = em + best[0], overlap + best[1]
    return em / len(answers), overlap / len(answers)


def sample(draw: random.Random, words: list[str]) -> tuple[list[list[str]], list[str], list[float]]:
    """Thirty questions: right answers, a model's best ones, and its odds."""

    def text() -> str:
        return " ".join(draw.choices(words, k=draw.randint(1, 4)))

    answers = [[text() for _ in range(draw.randint(0, 2))] for _ in range(30)]
    return answers, [text() for _ in answers], [draw.gauss(0, 2) for _ in answers]


def at(threshold: float, best: list[str], odds: list[float]) -> list[str]:
    return ["" if each > threshold else one for one, each in zip(best, odds, strict=True)]


def test_scores_agree_with_an_independent_computation() -> None:
    draw = random.Random(0)
    for _ in range(20):
        answers, best, odds = sample(draw, ["oak", "copper", "a", "the", "still,", "Cask", "malt.", "--"])
        given = at(0.5, best, odds)
        scores = compute(answers, given, best, odds)
        assert (scores["exact"], scores["f1"]) == pytest.approx(independent(answers, given))
        for part, wanted in (("has_answer", True), ("no_answer", False)):
            chosen = [i for i in range(30) if bool(answers[i]) == wanted]
            both = independent([answers[i] for i in chosen], [given[i] for i in chosen])
            assert (scores[f"{part}_exact"], scores[f"{part}_f1"]) == pytest.approx(both)


def test_the_best_threshold_gives_the_best_score_of_all_thresholds() -> None:
    draw = random.Random(1)
    for _ in range(20):
        answers, best, odds = sample(draw, ["oak", "copper", "still,", "Cask"])
        scores = compute(answers, at(0.0, best, odds), best, odds)
        reached = [independent(answers, at(threshold, best, odds)) for threshold in [-100.0, *odds]]
        for place, name in enumerate(("exact", "f1")):
            assert scores[f"best_{name}"] == pytest.approx(max(each[place] for each in reached))
            threshold = scores[f"best_{name}_threshold"]
            if threshold in odds:
                assert independent(answers, at(threshold, best, odds))[place] == pytest.approx(scores[f"best_{name}"])
            else:
                assert threshold == 0.0 and scores[f"best_{name}"] == pytest.approx(reached[0][place])
