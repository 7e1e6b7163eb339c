"""Whether a relation holds, by an interval over seeds and rows together.

Both variants of a relation answer the same rows with the same seeds, so what counts is D, of each seed and row the
score of the one less that of the other. Other seeds and other rows would have given another mean:

    standard error   of a bootstrap over both (the pigeonhole bootstrap: Owen 2007, The Annals of Applied Statistics 1,
                     386-411): seeds are drawn with replacement and, by themselves, so are rows; each draw has the mean
                     of D over what was drawn. Rows of one sentence are drawn together. Of n, n − 1 are drawn: n of n
                     would give a variance that is (n − 1)/n too small (Rao and Wu 1988, Journal of the American
                     Statistical Association 83, 231-241), which of three seeds is much.
    interval         difference ± t·(standard error), t of 95 % one-sided, so that it is one of 90 %. Its degrees of
                     freedom are n − 1 of the seeds where they are all that varies, and without end where the rows
                     are: Satterthwaite's (n − 1)·(V/V_seeds)², V_seeds of a bootstrap over the seeds alone.

A relation holds if the interval lies above 0 (above minus the margin where it allows one), does not if it lies below,
else it cannot be told; an effect of (t of 95 % + t of 80 %)·(standard error) would then have been seen in four of five
tries. Two variants are alike if the interval lies within ± the margin, and are not if it lies outside (two one-sided
tests).

One seed has no variance of seeds: its interval is of rows alone, and says nothing of another seed.

Shapes: S seeds, N rows, K sentences.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from benchmarks.claims import Relation

DRAWS, BLOCK = 4000, 250
LEVEL = 0.95  # one-sided
POWER = 0.8
HOLDS, DOES_NOT, UNKNOWN = "holds", "does not hold", "cannot be told"


@dataclass(frozen=True)
class Interval:
    """A difference of means, and how sure it is."""

    difference: float
    error: float  # standard
    freedom: float  # degrees

    @property
    def half(self) -> float:
        """Half of the interval's width."""
        return self.error * float(student.ppf(LEVEL, self.freedom)) if self.error else 0.0

    @property
    def seen(self) -> float:
        """The effect that would have been told from none in four of five tries."""
        return self.half + self.error * float(student.ppf(POWER, self.freedom)) if self.error else 0.0


def interval(differences: np.ndarray, sentences: np.ndarray, draws: int = DRAWS) -> Interval:
    """Of paired differences.

    Args:
        differences: D (S, N); NaN, of all seeds alike, where a row does not count.
        sentences: (N,) of each row, which sentence it stands in.
        draws: of the bootstrap; it always draws alike.
    """
    counts = ~np.isnan(differences).any(0)
    differences, sentences = differences[:, counts], sentences[counts]
    names, places = np.unique(sentences, return_inverse=True)
    seeds = len(differences)
    sums = np.stack([np.bincount(places, row, len(names)) for row in differences])  # (S, K)
    sizes = np.bincount(places, minlength=len(names))  # (K,)
    draw = np.random.default_rng(0)
    means = []  # of each draw of both, and of its seeds alone
    for _ in range(draws // BLOCK):
        by_sentence = _drawn(draw, seeds) @ sums  # (BLOCK, K)
        sentences_drawn = _drawn(draw, len(names))
        both = (by_sentence * sentences_drawn).sum(1) / (sentences_drawn @ sizes)
        means.append(np.stack([both, by_sentence.sum(1) / sizes.sum()]))
    whole, of_seeds = np.concatenate(means, axis=1).var(axis=1, ddof=1)
    freedom = (seeds - 1) * (whole / of_seeds) ** 2 if of_seeds else np.inf
    return Interval(float(differences.mean()), float(whole) ** 0.5, float(freedom))


def judge(relation: Relation, scores: dict[str, np.ndarray], sentences: np.ndarray) -> dict:
    """One relation: the difference of the means, its interval, and what that says.

    Args:
        scores: (S, N) of each variant.
        sentences: (N,) of each row.
    """
    found = interval(scores[relation.better] - scores[relation.worse], sentences)
    low, high = found.difference - found.half, found.difference + found.half
    return {
        "better": relation.better,
        "worse": relation.worse,
        "alike": relation.alike,
        "margin": relation.margin,
        "paper": relation.paper,
        "source": relation.source,
        "difference": found.difference,
        "standard_error": found.error,
        "interval": [low, high],
        "would_be_seen": found.seen,
        "verdict": verdict(relation, low, high),
    }


def verdict(relation: Relation, low: float, high: float) -> str:
    """What an interval says of a relation."""
    margin = relation.margin
    if relation.alike:
        if -margin <= low and high <= margin:
            return HOLDS
        return DOES_NOT if low > margin or high < -margin else UNKNOWN
    if low > -margin:
        return HOLDS
    return DOES_NOT if high < -margin else UNKNOWN


def summary(verdicts: list[str]) -> str:
    """The verdict on a claim: it holds if every relation does, and does not if one does not."""
    if DOES_NOT in verdicts:
        return DOES_NOT
    return HOLDS if set(verdicts) == {HOLDS} else UNKNOWN


def _drawn(draw: np.random.Generator, n: int) -> np.ndarray:
    """(BLOCK, n) the weight of each of n in a draw of n − 1, with a sum of 1; of one, the one that there is."""
    many = max(n - 1, 1)
    return draw.multinomial(many, np.full(n, 1 / n), BLOCK) / many
