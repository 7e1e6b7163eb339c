"""A teacher's logits of where an answer begins and ends, at the tokens of a student that cuts words otherwise.

Both read the same part of a context. A start lies at its token's first character, an end at its last: so what the
teacher says of a token goes to the student's token that holds that character, and where several go to one, their
probabilities are added, exactly so at T = 1. [CLS], where no answer is, goes to [CLS]. Tokens that get nothing, such as
those of the question, have no outcome.

L tokens of the student's window, M of the teacher's.
"""

from collections.abc import Sequence

import numpy as np

from stillhouse.answers.windows import CLS, OUTSIDE
from stillhouse.training.losses import NO_OUTCOME

Places = tuple[Sequence[int], Sequence[int]]  # characters of each token, from … to before …; OUTSIDE where it has none


def align(logits: np.ndarray, theirs: Places, ours: Places) -> np.ndarray:
    """(2, L) float32, of starts and of ends.

    Args:
        logits: (2, M) the teacher's.
        theirs, ours: which characters of the context the tokens cover.
    """
    starts, ends = (np.asarray(part) for part in theirs)
    inside = np.flatnonzero(starts != OUTSIDE)
    aligned = np.full((2, len(ours[0])), NO_OUTCOME, dtype=np.float64)
    for side, characters in enumerate((starts[inside], ends[inside] - 1)):
        places = _holding(characters, ours)
        there = places != OUTSIDE
        np.logaddexp.at(aligned[side], places[there], logits[side, inside[there]])
    aligned[:, CLS] = logits[:, CLS]
    return aligned.astype(np.float32)


def _holding(characters: np.ndarray, tokens: Places) -> np.ndarray:
    """The token that holds each character, OUTSIDE where none does."""
    starts, ends = (np.asarray(part) for part in tokens)
    inside = np.flatnonzero((starts != OUTSIDE) & (ends > starts))
    if not len(inside):
        return np.full(len(characters), OUTSIDE)
    last = np.searchsorted(starts[inside], characters, side="right") - 1
    found = inside[last.clip(0)]
    return np.where((last >= 0) & (characters < ends[found]), found, OUTSIDE)
