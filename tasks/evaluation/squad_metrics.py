"""SQuAD 2.0's metrics, by the rules of its official evaluation: exact match and F1 of words, as shares (not percent).

Texts are compared in lower case, without punctuation, without the articles a, an and the, white space made one. A
question without an answer is right with no answer, and wrong with any; one with answers is scored by the best of them.
Rajpurkar 2018, and 2016 for the metrics.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

NAMES = ("exact", "f1", "best_exact", "best_f1")  # of the metrics that a model can be judged by
ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def compute(
    answers: Sequence[Sequence[str]], given: Sequence[str], best: Sequence[str], null_odds: Sequence[float]
) -> dict[str, float]:
    """Every metric over some questions.

    `exact`, `f1`; the same over the questions that have an answer (`has_answer_…`) and over those that have none
    (`no_answer_…`), where there are such; `best_exact` and `best_f1` with the thresholds that give them
    (`…_threshold`): what a threshold chosen on these very questions would reach.

    Args:
        answers: right answers of each question, [] where it has none.
        given: the model's answers, "" for none.
        best: its answers had it to give one.
        null_odds: how sure it is that there is none.
    """
    right = [[text for text in texts if normalize(text)] or [""] for texts in answers]
    has = [bool(texts) for texts in answers]
    metrics: dict[str, float] = {}
    for name, score in (("exact", exact), ("f1", f1)):
        scores = [max(score(text, one) for one in texts) for text, texts in zip(given, right, strict=True)]
        metrics[name] = sum(scores) / len(scores)
        for part, wanted in (("has_answer", True), ("no_answer", False)):
            chosen = [value for value, there in zip(scores, has, strict=True) if there == wanted]
            if chosen:
                metrics[f"{part}_{name}"] = sum(chosen) / len(chosen)
        unbound = [max(score(text, one) for one in texts) for text, texts in zip(best, right, strict=True)]
        metrics[f"best_{name}"], metrics[f"best_{name}_threshold"] = best_threshold(unbound, best, null_odds, has)
    return metrics


def row(answers: Sequence[str], given: str, best: str, null_odds: float) -> dict[str, float]:
    """One question's part of the metrics: whether it has an answer, and the scores of what was given and of the best.

    Args:
        answers, given, best, null_odds: of that question, as `compute` takes them.
    """
    right = [text for text in answers if normalize(text)] or [""]
    scores = {
        f"{prefix}{score.__name__}": max(score(text, one) for one in right)
        for prefix, text in (("", given), ("best_", best))
        for score in (exact, f1)
    }
    return {"answerable": float(bool(answers)), **scores, "best_given": float(bool(best)), "null_odds": null_odds}


def exact(given: str, right: str) -> float:
    """1 where the two are the same, else 0."""
    return float(normalize(given) == normalize(right))


def f1(given: str, right: str) -> float:
    """Of the words that the two share, each as often as in both; two without any words are the same."""
    ours, theirs = normalize(given).split(), normalize(right).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(ours), shared / len(theirs)
    return 2 * precision * recall / (precision + recall)


def normalize(text: str) -> str:
    """The text as it is compared."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def best_threshold(
    scores: Sequence[float], best: Sequence[str], null_odds: Sequence[float], has: Sequence[bool]
) -> tuple[float, float]:
    """The highest mean score that a threshold on the null odds gives, and the lowest such threshold.

    Starts where every question is left without an answer, with the threshold 0 should that be the best, and gives one
    more question its answer at a time, the surest first.

    Args:
        scores: of each question with its best span for an answer.
        best: that answer's text.
        null_odds: how sure the model is that there is none.
        has: whether there is one.
    """
    total = highest = float(sum(not there for there in has))
    threshold = 0.0
    for i in sorted(range(len(scores)), key=lambda i: null_odds[i]):
        total += scores[i] if has[i] else -1.0 if best[i] else 0.0
        if total > highest:
            highest, threshold = total, null_odds[i]
    return highest / len(scores), float(threshold)
