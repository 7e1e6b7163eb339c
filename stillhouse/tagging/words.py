"""Words of a text, for models that give each word a label.

A text that was cut into words by others is those words with a space between each two; so its words are where its spaces
are. A text as people write it is cut here: a run of letters, digits, underscores and what modifies them is a word, and
every other visible sign is one by itself, such as a full stop or an emoji with its parts.
"""

import unicodedata

Span = tuple[int, int]  # characters, from … to before …

JOINER = "\u200d"  # makes one emoji of two


def joined(words: list[str]) -> tuple[str, list[Span]]:
    """Words as one text, and where each stands in it."""
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), spans


def word_spans(text: str) -> list[Span]:
    """Where the words of a text stand whose words others have cut: between its spaces."""
    return joined(text.split(" "))[1]


def split_words(text: str) -> list[Span]:
    """Where the words of a text stand, in order."""
    spans: list[Span] = []
    letters = False  # whether the last word is of letters
    for place, sign in enumerate(text):
        touches = bool(spans) and spans[-1][1] == place
        modifies = unicodedata.category(sign)[0] == "M" or sign == JOINER
        if sign.isspace():
            continue
        if touches and (modifies or text[place - 1] == JOINER or (letters and _letter(sign))):
            spans[-1] = (spans[-1][0], place + 1)
            continue
        spans.append((place, place + 1))
        letters = _letter(sign)
    return spans


def _letter(sign: str) -> bool:
    return sign.isalnum() or sign == "_"
