"""Vocabulary trimming (Abdaoui et al. 2020, arXiv 2010.05609): the word vectors of pieces that no text uses go.

A multilingual BERT has most of its weights in word vectors, of which one language reads few. The paper counts how often
each piece stands in texts of the languages that are wanted, keeps those above a floor, and loses next to nothing on
XNLI with up to 45 % fewer weights. Here the texts are a task's training rows, and a corpus's where one is given: what
a task reads is narrower still than what its language has. Nothing is trained.

    stays = {piece : count(piece) ≥ floor} ∪ the tokenizer's first ∪ special ∪ characters and bytes
            ∪ what the tokenizer needs to make those

So every text can still be cut, if into more pieces; which texts are cut as before, and why, stands in
`stillhouse.text.trimming`. The logits of those are the same to the last bit, for no number that makes them has changed
(two files may place the same numbers so differently in memory that a processor sums them in another order).

Where we differ: the paper trims WordPiece and lets words that it lost be cut by what is left; so do we, and also for
BPE and Unigram, whose rules need more than the pieces that were counted. And so many of the tokenizer's first pieces as
are asked for stay uncounted: they were the most common ones of its own text, and few rows have them all.

N texts, V pieces.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.errors import InputError
from stillhouse.surgery.trimming import named_pieces
from stillhouse.text.trimming import first_pieces, needed_pieces

BATCH = 1000  # texts that are cut at a time


@dataclass(frozen=True)
class Recut:
    """How much of a text another tokenizer cuts differently.

    rows: share of the rows with a difference.
    tokens: share of the tokens before that are not there afterwards, at the same place.
    longer: tokens afterwards for one before.
    """

    rows: float
    tokens: float
    longer: float


def count_pieces(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> np.ndarray:
    """How often each piece stands in some texts, (V,) by id; whole texts, without special tokens."""
    counts = np.zeros(max(tokenizer.get_vocab().values()) + 1, dtype=np.int64)
    for start in range(0, len(texts), BATCH):
        ids = _cut(tokenizer, list(texts[start : start + BATCH]))["input_ids"]
        counts += np.bincount(np.fromiter(chain.from_iterable(ids), dtype=np.int64), minlength=len(counts))
    return counts


def pieces_that_stay(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, counts: np.ndarray, floor: int, first: int = 0
) -> list[int]:
    """The pieces of the module's formula, by id, in order.

    Args:
        model: what the word vectors are of.
        tokenizer: its own.
        counts: (V,) as `count_pieces` gives them.
        floor: a piece with fewer goes,
        first: unless it is one of so many that `first_pieces` gives.

    Raises:
        InputError: a tokenizer that cannot be trimmed, or texts without a single piece.
    """
    if not counts.any():
        raise InputError("the texts that pieces are counted in are empty: give others, or another corpus")
    used = np.flatnonzero(counts >= floor).tolist()
    return needed_pieces(tokenizer, {*used, *first_pieces(tokenizer, first), *named_pieces(model, tokenizer)})


def cut_differently(
    before: PreTrainedTokenizerBase, after: PreTrainedTokenizerBase, rows: Sequence[Sequence[str]]
) -> Recut:
    """How much of some rows a trimmed tokenizer cuts differently.

    Args:
        before: the whole tokenizer.
        after: the trimmed one.
        rows: the texts of each.
    """
    gone = total = now = changed = 0
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        texts = list(chain.from_iterable(some))
        pairs = zip(_places(before, texts), _places(after, texts), strict=True)
        for row in some:
            lost = 0
            for _ in row:
                theirs, ours = next(pairs)
                lost += (theirs - ours).total()
                total += theirs.total()
                now += ours.total()
            gone += lost
            changed += lost > 0
    return Recut(changed / max(len(rows), 1), gone / max(total, 1), now / max(total, 1))


def _cut(tokenizer: PreTrainedTokenizerBase, texts: list[str], **options: bool) -> dict[str, list]:
    return tokenizer(
        texts, add_special_tokens=False, truncation=False, padding=False, return_attention_mask=False,
        return_token_type_ids=False, verbose=False, **options,
    )  # fmt: skip


def _places(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Iterable[Counter[tuple]]:
    """Each text's pieces with where they begin and end in it."""
    cut = _cut(tokenizer, texts, return_offsets_mapping=True)
    for ids, places in zip(cut["input_ids"], cut["offset_mapping"], strict=True):
        yield Counter(zip(tokenizer.convert_ids_to_tokens(ids), map(tuple, places), strict=True))
