"""A tokenizer of whole words, for students that read words instead of pieces.

A word is lower-cased letters, digits and underscores, with apostrophes inside (isn't); any other visible character is a
word by itself. Every sentence ends in a separator, so that none is empty; the second of a pair has token type 1.

What is not in the vocabulary and what is masked are one token, as in Tang et al. 2019, section 3.3: so masked words
teach the model what to do with words that it does not know. It is written as in the teacher's tokenizer.
"""

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from stillhouse.errors import InputError

WORD = r"\w+(?:['’]\w+)*|[^\w\s]"  # read alike by `re` and by tokenizers' own engine
PAD, SEPARATOR, CLS = "[PAD]", "[SEP]", "[CLS]"


def word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each word of a text, in order."""
    return [match.span() for match in re.finditer(WORD, text)]


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word stands in the texts, lower-cased."""
    return Counter(word for text in texts for word in re.findall(WORD, text.lower()))


def word_tokenizer(
    texts: Iterable[str], *, size: int, least: int, mask: str, cls: bool = False
) -> PreTrainedTokenizerBase:
    """A tokenizer whose vocabulary are the most frequent words of some texts.

    Args:
        size: tokens at most, the special ones included.
        least: how often a word must stand in the texts.
        mask: the masked word, and each unknown one, as the teacher's tokenizer writes it.
        cls: whether a text begins with [CLS], a word for what stands nowhere in it.

    Raises:
        InputError: no word is left.
    """
    special = [PAD, mask, SEPARATOR, *([CLS] if cls else [])]
    counts = count_words(texts)
    # Equally frequent words by the alphabet: the order must not depend on that of the rows.
    ranked = sorted((-count, word) for word, count in counts.items() if count >= least and word not in special)
    words = [word for _, word in ranked[: max(size - len(special), 0)]]
    if not words:
        raise InputError(f"vocabulary = {size}, min_count = {least}: no word of the texts is left: change them")
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *words])}, unk_token=mask))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    core.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEPARATOR}" if cls else f"$A {SEPARATOR}",
        pair=f"{CLS if cls else ''} $A {SEPARATOR} $B:1 {SEPARATOR}:1".strip(),
        special_tokens=[(token, special.index(token)) for token in special[2:]],
    )
    core.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=mask,
        mask_token=mask,
        sep_token=SEPARATOR,
        cls_token=CLS if cls else None,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
