"""TinyBERT's data augmentation: copies of a text in which some words are exchanged for likely ones.

Jiao et al. 2020 (arXiv 1909.10351), algorithm 1: every word has K candidates, from a masked language model if it is one
piece of its vocabulary, from the nearest word vectors if it is several; each of N_a copies exchanges each word with
probability p_t for one of them, drawn evenly.

Where we differ from the paper's reference code:
- The coins fall first, and candidates are asked for only where some copy needs them: the same copies, for less work.
- Numbers, contractions and stop words stay (`stillhouse.text.words`), and so does all spelling between the exchanged
  words.
- A copy of a pair exchanges words on both sides, each with its own coins. (The reference gives every variant of the
  second text the last altered first text for a partner.) So N_a copies are N_a rows at most, pair or not.
- A copy equal to its original or to an earlier copy is dropped.

What a row becomes depends on (seed, row index) and the model alone, not on where a run resumed; and in fp32 not on its
neighbours, whose batch it shares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.text.words import content_word_spans, replace_words, written_like

Texts = tuple[str, ...]  # one text, or the two of a pair
Place = tuple[str, int, int]  # a text, and where a word of it starts and ends
Find = Callable[[list[Place]], list[list[str]]]  # the candidates of each place


@dataclass(frozen=True)
class Draw:
    """The coins of one text: W replaceable words, N_a copies."""

    text: str
    spans: list[tuple[int, int]]  # W
    replaced: np.ndarray  # (N_a, W) bool
    pick: np.ndarray  # (N_a, W) in [0, 1): which of the candidates

    def places(self) -> list[Place]:
        """The words that some copy replaces."""
        return [(self.text, *self.spans[w]) for w in np.flatnonzero(self.replaced.any(axis=0))]


def replace_with_likely_words(
    rows: Sequence[tuple[int, Texts]], find: Find, *, copies: int, replace: float, seed: int
) -> list[list[Texts]]:
    """The distinct copies of each row, in order, without the row itself.

    Args:
        rows: each row's index in its data set, and its text or texts.
        find: gives the candidates of words; see `stillhouse.text.candidates`.
        copies: N_a.
        replace: p_t.
        seed: of the coins.
    """
    drawn = [
        [draw(text, copies=copies, replace=replace, seed=(seed, row, side)) for side, text in enumerate(texts)]
        for row, texts in rows
    ]
    places = list(dict.fromkeys(place for sides in drawn for side in sides for place in side.places()))
    candidates = dict(zip(places, find(places), strict=True))
    out = []
    for (_, texts), sides in zip(rows, drawn, strict=True):
        made = [tuple(compose(side, copy, candidates) for side in sides) for copy in range(copies)]
        out.append([variant for variant in dict.fromkeys(made) if variant != texts])
    return out


def draw(text: str, *, copies: int, replace: float, seed: tuple[int, ...]) -> Draw:
    """Toss the coins of one text."""
    spans = content_word_spans(text)
    coins, pick = np.random.default_rng(seed).random((2, copies, len(spans)))
    return Draw(text, spans, coins < replace, pick)


def compose(drawn: Draw, copy: int, candidates: dict[Place, list[str]]) -> str:
    """One copy of a text. A word without candidates stays."""
    replacements = {}
    for w in np.flatnonzero(drawn.replaced[copy]):
        start, end = drawn.spans[w]
        if choice := candidates[drawn.text, start, end]:
            chosen = choice[int(drawn.pick[copy, w] * len(choice))]
            replacements[start, end] = written_like(drawn.text[start:end], chosen)
    return replace_words(drawn.text, replacements)
