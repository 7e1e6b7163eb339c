"""Augmentation of Tang et al. 2019 (arXiv 1903.12136), section 3.3: copies of a text without a language model.

For each word u ~ U(0, 1): masked if u < p_mask; else, if u < p_mask + p_pos, another word of the same part of speech
takes its place, drawn by its frequency in the training set. Then, with probability p_ng, only an n-gram of the copy is
kept, n from 1 to 5, at a place drawn evenly. Rounds over a pair alter the first text, the second, and both, in turn.

Where the paper is silent: punctuation marks are words, as they are to the student's tokenizer. A text of fewer than n
words is kept whole. A word that is the only one of its part of speech stays. What lies between words stays as it was.

What a row becomes depends on (seed, row index) and the word frequencies: not on its neighbours.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import numpy as np

from stillhouse.text.word_tokenizer import word_spans
from stillhouse.text.words import written_like

Texts = tuple[str, ...]  # one text, or the two of a pair
Tag = Callable[[list[str]], list[str]]  # the part of speech of each word of a text


class WordClasses:
    """The words of each part of speech, with their frequencies.

    Args:
        counts: part of speech -> its words, lower-cased, and how often each was seen.
    """

    def __init__(self, counts: dict[str, Counter[str]]) -> None:
        self.words = {tag: sorted(found) for tag, found in counts.items()}
        self.ends = {tag: list(accumulate(counts[tag][word] for word in words)) for tag, words in self.words.items()}
        self.place = {tag: {word: i for i, word in enumerate(words)} for tag, words in self.words.items()}

    def another(self, word: str, tag: str, draw: float) -> str | None:
        """Another word of a class, by frequency; None if there is none.

        Args:
            word: in the class, lower-cased.
            draw: in [0, 1).
        """
        ends, at = self.ends[tag], self.place[tag][word]
        start = ends[at - 1] if at else 0
        others = ends[-1] - (ends[at] - start)
        if not others:
            return None
        point = int(draw * others)
        # The word's own stretch is stepped over: the others keep their proportions.
        return self.words[tag][bisect_right(ends, point if point < start else point + ends[at] - start)]


def count_classes(texts: Iterable[str], tag: Tag) -> WordClasses:
    """Read the training texts once, for the frequencies."""
    counts: dict[str, Counter[str]] = {}
    for text in texts:
        words = [text[start:end] for start, end in word_spans(text)]
        for word, kind in zip(words, tag(words), strict=True):
            counts.setdefault(kind, Counter())[word.lower()] += 1
    return WordClasses(counts)


def replace_by_word_class(
    texts: Texts,
    tag: Tag,
    classes: WordClasses,
    *,
    rounds: int,
    mask: float,
    same_class: float,
    ngram: float,
    longest: int,
    mask_token: str,
    seed: tuple[int, int],
) -> list[Texts]:
    """A copy of a row for each round, in order; they may be equal to each other, or to the row.

    Args:
        texts: one text, or the two of a pair; they are among those that `classes` has counted.
        mask: p_mask.
        same_class: p_pos.
        ngram: p_ng.
        longest: the largest n.
        mask_token: what a masked word becomes.
        seed: of everything, and the row's index.
    """
    sides = [_Side(text, tag, classes, mask_token) for text in texts]
    generator = np.random.default_rng(seed)
    copies = []
    for number in range(rounds):
        # A text by itself is altered each time, the sides of a pair in turns.
        altered = (True,) if len(sides) == 1 else ((True, False), (False, True), (True, True))[number % 3]
        copies.append(
            tuple(
                side.copy(generator, mask, same_class, ngram, longest) if alter else side.text
                for side, alter in zip(sides, altered, strict=True)
            )
        )
    return copies


class _Side:
    """One text, taken apart once for all rounds."""

    def __init__(self, text: str, tag: Tag, classes: WordClasses, mask_token: str) -> None:
        self.text = text
        self.classes = classes
        self.mask_token = mask_token
        self.spans = word_spans(text)
        self.words = [text[start:end] for start, end in self.spans]
        self.tags = tag(self.words)

    def copy(self, generator: np.random.Generator, mask: float, same_class: float, ngram: float, longest: int) -> str:
        if not self.words:
            return self.text
        # Drawn whether needed or not, so that one probability does not change what another's coins do.
        coins, pick = generator.random((2, len(self.words))).tolist()
        cut, where = generator.random(2).tolist()
        n = int(generator.integers(1, longest, endpoint=True))
        words = list(self.words)
        for i, coin in enumerate(coins):
            if coin < mask:
                words[i] = self.mask_token
            elif coin < mask + same_class:
                other = self.classes.another(words[i].lower(), self.tags[i], pick[i])
                words[i] = words[i] if other is None else written_like(words[i], other)
        if cut < ngram and n < len(words):
            first = int(where * (len(words) - n + 1))
            return self._joined(words, first, first + n)
        return self.text[: self.spans[0][0]] + self._joined(words, 0, len(words)) + self.text[self.spans[-1][1] :]

    def _joined(self, words: Sequence[str], first: int, end: int) -> str:
        """Words `first` to `end` with what lies between them in the text."""
        parts = [words[first]]
        for i in range(first + 1, end):
            parts += [self.text[self.spans[i - 1][1] : self.spans[i][0]], words[i]]
        return "".join(parts)
