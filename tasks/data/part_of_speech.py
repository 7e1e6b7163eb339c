"""The part of speech of English words, by TextBlob: a lexicon and suffix rules that come inside its package."""

from stillhouse.errors import InputError


def tag(words: list[str]) -> list[str]:
    """The Penn Treebank tag of each word of a sentence, in order.

    A word of the lexicon has its most frequent tag; another one is a name if it is capitalized, a number if it is
    written like one, else what its suffix says, else a noun.
    """
    return [found for _, found in _tagger().find_tags(words)]


def _tagger():
    try:
        from textblob.en import parser
    except ImportError as error:
        raise InputError(f"no part-of-speech tagger ({error}): install the extra 'pipeline'") from None
    return parser
