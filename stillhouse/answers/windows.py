"""Windows over a question and its context: a context that is longer than the model reads is read in several.

A window is `[CLS] question [SEP] part of the context [SEP]`, or what the tokenizer's family writes for a pair. Parts of
one context overlap, so that an answer at the end of one stands whole in the next. A window that does not hold the whole
answer, like one of a question without an answer, has its answer at `[CLS]`, its first token (Devlin 2019, section 4.3).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from stillhouse.errors import InputError

CLS = 0  # place of [CLS] in a window
OUTSIDE = -1  # in place of characters, at tokens that are not the context's


def cut_windows(
    questions: Sequence[str],
    contexts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    overlap: int,
    question_length: int,
) -> dict[str, list[Any]]:
    """All windows of some questions, by column; those of one question stand together, in the order of its context.

    Args:
        questions, contexts: of the same number.
        max_length: tokens of a window, the special ones included.
        overlap: tokens of the context that two windows in a row share.
        question_length: tokens; the rest of a longer question is cut.

    Returns:
        `example` (which question), `input_ids` and maybe `token_type_ids` (L), `starts` and `ends` (L): the characters
        of the context that a token covers, from `starts` to before `ends`, or OUTSIDE.

    Raises:
        InputError: a window has no room, or the tokenizer writes no [CLS] first.
    """
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if max_length - question_length - special <= overlap:
        raise InputError(
            f"max_length = {max_length} has no room for a question of {question_length} tokens, {special} "
            f"special ones and more of the context than an overlap of {overlap}: raise it, or lower the others"
        )
    tokens = tokenizer(
        _shortened(questions, tokenizer, question_length),
        list(contexts),
        truncation="only_second",
        max_length=max_length,
        stride=overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    if any(ids[CLS] != tokenizer.cls_token_id for ids in tokens["input_ids"]):
        raise InputError(f"'{tokenizer.name_or_path}': its inputs do not begin with [CLS]: use an encoder like BERT")
    columns = {name: tokens[name] for name in ("input_ids", "token_type_ids") if name in tokens}
    characters = [
        [place if part == 1 else (OUTSIDE, OUTSIDE) for place, part in zip(offsets, encoding.sequence_ids, strict=True)]
        for offsets, encoding in zip(tokens["offset_mapping"], tokens.encodings, strict=True)
    ]
    return columns | {
        "example": tokens["overflow_to_sample_mapping"],
        "starts": [[start for start, _ in window] for window in characters],
        "ends": [[end for _, end in window] for window in characters],
    }


def answer_place(starts: Sequence[int], ends: Sequence[int], answer: str, at: int) -> tuple[int, int]:
    """The first and the last token of an answer in a window; ([CLS], [CLS]) where the window does not hold all of it.

    Args:
        starts, ends: (L,) the window's characters, from `cut_windows`.
        answer: its text; white space around it is no part of it.
        at: the character of the context where the text begins.
    """
    first = at + len(answer) - len(answer.lstrip())
    last = at + len(answer.rstrip())
    inside = [i for i, (start, end) in enumerate(zip(starts, ends, strict=True)) if start < last and end > first]
    if not inside or starts[inside[0]] > first or ends[inside[-1]] < last:
        return CLS, CLS
    return inside[0], inside[-1]


def _shortened(questions: Sequence[str], tokenizer: PreTrainedTokenizerBase, most: int) -> list[str]:
    """Questions of at most `most` tokens; the tokenizer itself can only cut one side of a pair."""

    def cut() -> Iterator[str]:
        tokens = tokenizer(
            list(questions), add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False
        )
        for question, offsets in zip(questions, tokens["offset_mapping"], strict=True):
            yield question if len(offsets) <= most else question[: offsets[most - 1][1]]

    return list(cut())
