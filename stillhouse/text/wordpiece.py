"""A WordPiece vocabulary of a corpus's own, which cuts the same words as another tokenizer, into other pieces."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from stillhouse.errors import InputError

RARE = 1e-4  # letters that together make up no more than this share of the text are unknown


def train_wordpiece(texts: Collection[str], like: PreTrainedTokenizerBase, size: int) -> PreTrainedTokenizerBase:
    """Train a vocabulary. The same texts give the same one, piece by piece and id by id.

    Args:
        texts: the corpus, read twice: no more of it is in memory than a sentence.
        like: a WordPiece tokenizer whose way of finding words (casing, accents, punctuation) and special tokens are
            kept.
        size: pieces, special tokens included; fewer if the text has no more.

    Raises:
        InputError: `like` is no WordPiece tokenizer, or `size` has no room for the letters.
    """
    check_wordpiece(like)
    letters, later = _letters(words(like, text) for text in texts)
    inner = sorted(f"##{letter}" for letter in later)
    special = [like.pad_token, like.unk_token, like.cls_token, like.sep_token, like.mask_token]
    if size < len(special) + len(letters) + len(inner):
        raise InputError(
            f"vocabulary ({size}) is less than the {len(special) + len(letters) + len(inner)} pieces that the letters "
            "of the text take: raise it"
        )
    core = Tokenizer(models.WordPiece({}, unk_token=like.unk_token))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Inner letters get their ids first: else the order of a randomly seeded hash map would decide, and with it which of
    # two equally frequent pairs is merged.
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=[*special, *inner], show_progress=False)
    core.train_from_iterator(_known((words(like, text) for text in texts), letters), trainer)
    return _tokenizer(core.get_vocab(with_added_tokens=True), like)


def check_wordpiece(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises:
    InputError: it cuts words in another way.
    """
    kind = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"]
    if kind != "WordPiece":
        raise InputError(f"'{tokenizer.name_or_path}' has a {kind} tokenizer: this method needs BERT's WordPiece")


def words(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """The words of a text as the tokenizer sees them before it cuts them."""
    core = tokenizer.backend_tokenizer
    normal = core.normalizer.normalize_str(text) if core.normalizer else text
    return [word for word, _ in core.pre_tokenizer.pre_tokenize_str(normal)]


def cut(tokenizer: PreTrainedTokenizerBase, word: str) -> list[int]:
    """The pieces of one such word."""
    return [token.id for token in tokenizer.backend_tokenizer.model.tokenize(word)]


def _letters(sentences: Iterable[list[str]]) -> tuple[set[str], set[str]]:
    """The letters that are not too rare, and those of them that stand after the first of a word."""
    counts: Counter[str] = Counter()
    later: set[str] = set()
    for sentence in sentences:
        counts.update("".join(sentence))
        for word in sentence:
            later.update(word[1:])
    rest = counts.total() * RARE
    kept = set(counts)
    for letter, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        rest -= count
        if rest < 0:
            break
        kept.remove(letter)
    return kept, later & kept


def _known(sentences: Iterable[list[str]], letters: set[str]) -> Iterator[str]:
    for sentence in sentences:
        yield " ".join(word for word in sentence if letters.issuperset(word))


def _tokenizer(vocabulary: dict[str, int], like: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    core = Tokenizer(models.WordPiece(vocabulary, unk_token=like.unk_token))
    core.normalizer = like.backend_tokenizer.normalizer
    core.pre_tokenizer = like.backend_tokenizer.pre_tokenizer
    core.decoder = decoders.WordPiece()
    first, last = like.cls_token, like.sep_token
    core.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=like.model_max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{name: getattr(like, name) for name in names},
    )
