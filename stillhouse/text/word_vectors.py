"""Word vectors and their nearest neighbours: from a GloVe-format file, or from a model's input embeddings.

V words, D dimensions, Q queries.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.errors import InputError
from stillhouse.text.vocabulary import vocabulary_words
from stillhouse.text.words import is_content_word

QUERIES = 32  # at once: (32, 400,000) similarities are 51 MB


class WordVectors:
    """Finds the words whose vectors point most nearly the same way.

    Args:
        words: V of them; each may be a neighbour.
        vectors: (V, D) fp32; taken over, and scaled to length 1 in place.
    """

    def __init__(self, words: Sequence[str], vectors: Tensor) -> None:
        assert len(words) == len(vectors)
        self.words = list(words)
        self.index: dict[str, int] = {}
        for i, word in enumerate(self.words):
            self.index.setdefault(word, i)
        self.vectors = vectors.div_(vectors.norm(dim=1, keepdim=True).clamp_min_(1e-12))

    def vector(self, word: str) -> Tensor | None:
        """(D,) of a word, or of its lower-case form; None if there is none."""
        at = self.index.get(word, self.index.get(word.lower()))
        return None if at is None else self.vectors[at]

    def nearest(self, words: Sequence[str], k: int) -> list[list[str]]:
        """The k nearest other words of each word by cosine, nearest first; none for a word without a vector."""
        vectors = [self.vector(word) for word in words]
        known = [i for i, vector in enumerate(vectors) if vector is not None]
        out: list[list[str]] = [[] for _ in words]
        for start in range(0, len(known), QUERIES):
            block = known[start : start + QUERIES]
            queries = torch.stack([vectors[i] for i in block])  # type: ignore[misc]  # (Q, D)
            # Two more than k: the word itself, and its form in other casing.
            best = (queries @ self.vectors.T).topk(min(k + 2, len(self.words))).indices.tolist()
            for i, found in zip(block, best, strict=True):
                other = (self.words[j] for j in found)
                out[i] = [word for word in other if word.lower() != words[i].lower()][:k]
        return out


class EmbeddingVectors(WordVectors):
    """The whole words of a model's vocabulary; a word in pieces has the mean of its pieces' embeddings.

    Args:
        model: gives the input embeddings.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        table: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
        self.table = table.detach().float().cpu()
        whole = vocabulary_words(tokenizer)
        super().__init__(list(whole.values()), self.table[list(whole)])

    def vector(self, word: str) -> Tensor | None:
        """(D,), the mean over the word's pieces, scaled to length 1."""
        ids = self.tokenizer(word, add_special_tokens=False)["input_ids"]
        if not ids or self.tokenizer.unk_token_id in ids:
            return None
        mean = self.table[ids].mean(dim=0)
        return mean / mean.norm().clamp_min(1e-12)


def read_word_vectors(file: Path) -> WordVectors:
    """The words of a file of vectors that may stand in for another (`stillhouse.text.words.is_content_word`).

    Raises:
        InputError: as `read_vectors`.
    """
    return WordVectors(*read_vectors(file, is_content_word, "augment.word_vectors"))


def read_vectors(file: Path, keep: Callable[[str], bool], key: str) -> tuple[list[str], Tensor]:
    """Read a text file of one word and its numbers a line, as GloVe and word2vec's text form have it.

    Peak memory is room for as many vectors as the file has lines, of which only those kept are touched.

    Args:
        keep: which words are wanted.
        key: what names the file in params.yaml, for the messages.

    Returns:
        The words, in the file's order, and their vectors (V, D).

    Raises:
        InputError: no such file, a line with other than the first line's count of numbers (with its number), or none of
            the words.
    """
    key = f"{key} = '{file}'"
    if not file.is_file():
        raise InputError(f"{key}: no such file: give a file of word vectors")
    with file.open("rb") as stream:
        lines = sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b"")) + 1
    words: list[str] = []
    vectors: np.ndarray | None = None
    with file.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for number, line in enumerate(stream, 1):
            fields = line.split()
            if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
                continue  # word2vec's header: how many words, how many dimensions
            if vectors is None:
                if len(fields) < 3:
                    raise _broken(key, number, "expected a word and its numbers")
                vectors = np.empty((lines, len(fields) - 1), dtype=np.float32)
            width = vectors.shape[1]
            # Some published files have words with spaces in them: the numbers are counted from the right.
            if len(fields) < width + 1:
                raise _broken(key, number, f"{max(len(fields) - 1, 0)} numbers where line 1 has {width}")
            try:
                values = np.array(fields[-width:], dtype=np.float32)
            except ValueError:
                raise _broken(key, number, "not all numbers after the word") from None
            if not np.isfinite(values).all():
                raise _broken(key, number, "a number is not finite")
            if len(fields) == width + 1 and keep(fields[0]):
                vectors[len(words)] = values
                words.append(fields[0])
    if vectors is None or not words:
        raise InputError(f"{key}: none of the words in it: give another file of word vectors")
    return words, torch.from_numpy(vectors[: len(words)])


def _broken(key: str, line: int, what: str) -> InputError:
    return InputError(f"{key}, line {line}: {what}: fetch the file again, or mend the line")
