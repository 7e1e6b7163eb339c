"""Windows over a sentence whose words have labels: one that is longer than the model reads is read in several.

A window is the tokenizer's special tokens around whole words. A word counts at its first piece, as in BERT's named
entities (Devlin 2019, section 5.3), and in one window alone: in that where the nearer end of what the window shows is
farthest, for there it is seen with the most of its sentence. A word of which the tokenizer makes no piece, such as one
of control characters, counts nowhere.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from stillhouse.errors import InputError
from stillhouse.tagging.words import Span

NO_WORD = -1  # in place of a word, at tokens at which none counts


def cut_windows(
    texts: Sequence[str],
    words: Sequence[Sequence[Span]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    overlap: int,
) -> dict[str, list[Any]]:
    """All windows of some sentences, by column; those of one sentence stand together, in order.

    A sentence of which the tokenizer makes no piece at all has no window.

    Args:
        words: of each text, where its words stand.
        max_length: tokens of a window, the special ones included.
        overlap: tokens that two windows in a row share, at least; a word is never cut but where it fills a window.

    Returns:
        `example` (which sentence), `input_ids` (L), `words` (L): which word counts at a token, or NO_WORD.

    Raises:
        InputError: a window has no room for more than the overlap.
    """
    room = max_length - tokenizer.num_special_tokens_to_add()
    if room <= overlap:
        raise InputError(
            f"max_length = {max_length} has no room for {max_length - room} special tokens and more than an overlap "
            f"of {overlap}: raise it, or lower overlap"
        )
    encoded = tokenizer(
        list(texts),
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        truncation=False,
        verbose=False,  # it warns of sentences that are longer than a model reads
    )
    columns: dict[str, list[Any]] = {"example": [], "input_ids": [], "words": []}
    rows = zip(
        texts, words, encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True
    )
    for example, (text, spans, ids, offsets, special) in enumerate(rows):
        inside = [place for place, mark in enumerate(special) if not mark]
        if not inside:
            continue
        before, after = ids[: inside[0]], ids[inside[-1] + 1 :]
        ids, offsets = ids[inside[0] : inside[-1] + 1], offsets[inside[0] : inside[-1] + 1]
        firsts = first_pieces(text, spans, offsets)
        windows = _windows(len(ids), [place for place, word in enumerate(firsts) if word != NO_WORD], room, overlap)
        for number, (start, end) in enumerate(windows):
            own = [
                word if _best(windows, place) == number else NO_WORD
                for place, word in enumerate(firsts[start:end], start)
            ]
            if any(word != NO_WORD for word in own):
                columns["example"].append(example)
                columns["input_ids"].append([*before, *ids[start:end], *after])
                columns["words"].append([*[NO_WORD] * len(before), *own, *[NO_WORD] * len(after)])
    return columns


def first_pieces(text: str, words: Sequence[Span], offsets: Sequence[Span]) -> list[int]:
    """For each token the word that it is the first piece of, or NO_WORD.

    Args:
        words: in order, apart from each other.
        offsets: of each token the characters that it covers, white space perhaps at both ends.
    """
    starts = [start for start, _ in words]
    found, last = [], NO_WORD
    for start, end in offsets:
        while start < end and text[start].isspace():
            start += 1
        word = bisect_right(starts, start) - 1
        inside = start < end and word >= 0 and start < words[word][1]
        found.append(word if inside and word != last else NO_WORD)
        if inside:
            last = word
    return found


def _windows(tokens: int, firsts: Sequence[int], room: int, overlap: int) -> list[Span]:
    """From … to before … of each window, in tokens.

    Args:
        firsts: the tokens that words begin with, in order; those before the first are the first word's.
    """
    begins = [0, *(place for place in firsts if place)]
    windows: list[Span] = []
    start = 0
    while True:
        end = start + room
        if end >= tokens:
            return [*windows, (start, tokens)]
        # Before the last word that would be cut; where that would leave nothing, one word fills the window.
        cut = begins[bisect_right(begins, end) - 1]
        end = cut if cut > start else end
        windows.append((start, end))
        back = begins[bisect_right(begins, end - overlap) - 1]
        following = bisect_right(begins, end - 1)
        start = back if back > start else begins[following] if following < len(begins) else tokens
        if start >= tokens:
            return windows


def _best(windows: Sequence[Span], place: int) -> int:
    """The window that shows the most around a token: the nearer of its two ends, of which those of the sentence are
    none."""

    def shown(window: Span) -> float:
        start, end = window
        if not start <= place < end:
            return -1.0
        left = float("inf") if start == 0 else place - start
        right = float("inf") if end == windows[-1][1] else end - 1 - place
        return min(left, right)

    return max(range(len(windows)), key=lambda number: shown(windows[number]))
