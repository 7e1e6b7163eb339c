"""Words of a text as augmentation sees them: where they stand, which may be replaced, and how a replacement is written.

Replaced words are put back by position, so everything between and around them (spacing, punctuation, casing of other
words) stays byte for byte as it was.
"""

import re

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

# Closed-class words of English. A replaced pronoun or negation breaks the sentence or flips its label, and gains no
# variety; the paper's reference code skips stop words too. Other languages have none here: all their words may change.
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about above after again against all almost along already also although always am among an and another any
        anyone anything are around as at away be became because been before behind being below between both but by
        came can cannot could did do does doing done down during each either else enough even ever every everyone
        everything few for from further get gets getting got had has have having he hence her here hers herself him
        himself his how however if in indeed instead into is it its itself just least less many may maybe me might
        mine more most much must my myself neither never no nobody none nor not nothing now of off often on once one
        only onto or other others otherwise our ours ourselves out over own per perhaps quite rather same shall she
        should since so some somehow someone something still such than that the their theirs them themselves then
        there therefore these they this those though through thus to together too toward towards under unless until
        up upon us very via was we well were what whatever when whenever where whereas wherever whether which while
        who whoever whole whom whose why will with within without would yet you your yours yourself yourselves
        """,
    )
)


def content_word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each word that may be replaced, in order."""
    return [match.span() for match in WORD.finditer(text) if is_content_word(match.group())]


def is_content_word(word: str) -> bool:
    """Letters only, at least two, and no stop word: neither numbers nor contractions (isn't) nor identifiers."""
    return len(word) > 1 and word.isalpha() and word.lower() not in STOP_WORDS


def written_like(word: str, replacement: str) -> str:
    """A lower-case replacement in the casing of the word whose place it takes."""
    if not replacement.islower():
        return replacement
    if word.isupper():
        return replacement.upper()
    return replacement[0].upper() + replacement[1:] if word[0].isupper() else replacement


def replace_words(text: str, replacements: dict[tuple[int, int], str]) -> str:
    """The text with the words at some spans exchanged."""
    parts, end = [], 0
    for span in sorted(replacements):
        parts += [text[end : span[0]], replacements[span]]
        end = span[1]
    return "".join([*parts, text[end:]])
