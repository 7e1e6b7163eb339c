"""Models of random weights, tokenizers of made-up words, rows of random ids: nothing is downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizerFast,
    PreTrainedTokenizerBase,
)

from benchmarks.rows import Rows

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLASSES = 2


@dataclass(frozen=True)
class Shape:
    """Of an encoder: layers, width, heads, FFN units, pieces of its vocabulary; standard deviation of its weights.

    Small ones have weights so wide that what comes out differs from row to row, and a wrong step shows in the loss.
    """

    layers: int
    width: int
    heads: int
    units: int
    vocabulary: int
    deviation: float = 0.02


MINILM = Shape(layers=6, width=384, heads=12, units=1536, vocabulary=30_522)
BERT_BASE = Shape(layers=12, width=768, heads=12, units=3072, vocabulary=30_522)
SMALL = Shape(layers=4, width=128, heads=4, units=512, vocabulary=300, deviation=0.1)
TINY = Shape(layers=4, width=32, heads=4, units=64, vocabulary=300, deviation=0.2)


def config(shape: Shape, dropout: float = 0.0) -> BertConfig:
    """BERT's, of this shape."""
    return BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.units,
        initializer_range=shape.deviation,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=CLASSES,
    )


def classifier(shape: Shape, *, seed: int = 0, dropout: float = 0.0) -> BertForSequenceClassification:
    """A classifier of random weights, in eval mode."""
    torch.manual_seed(seed)
    return BertForSequenceClassification(config(shape, dropout)).eval()


def masked_lm(shape: Shape, *, seed: int = 0) -> BertForMaskedLM:
    """A masked LM of random weights, in eval mode."""
    torch.manual_seed(seed)
    return BertForMaskedLM(config(shape)).eval()


def rows(count: int, lengths: Sequence[int], vocabulary: int, *, seed: int = 0, columns: bool = True) -> Rows:
    """Rows of random ids, framed by [CLS] and [SEP], with a label and logits of a teacher.

    Args:
        count: rows.
        lengths: tokens of a row, taken by turns.
        vocabulary: ids are below it.
        columns: whether there are `teacher_logits`.
    """
    draw = torch.Generator().manual_seed(seed)
    found = Rows()
    for number in range(count):
        length = lengths[number % len(lengths)]
        inner = torch.randint(len(SPECIAL), vocabulary, (length - 2,), generator=draw).tolist()
        row: dict[str, Any] = {"input_ids": [2, *inner, 3], "length": length}
        row["label"] = int(torch.randint(CLASSES, (), generator=draw))
        if columns:
            row["teacher_logits"] = torch.randn(CLASSES, generator=draw).tolist()
        found.append(row)
    return found


def words(count: int) -> list[str]:
    """Words of three syllables, the same ones always."""
    syllables = [first + last for first, last in product("bdfgklmnprst", "aeiou")]
    return ["".join(each) for _, each in zip(range(count), product(syllables, repeat=3), strict=False)]


def tokenizer(vocabulary: int) -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer, as BERT has it, of so many pieces, each a word."""
    pieces = [*SPECIAL, *words(vocabulary - len(SPECIAL))]
    ids = {piece: number for number, piece in enumerate(pieces)}
    core = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return BertTokenizerFast(tokenizer_object=core)


def texts(count: int, length: int, vocabulary: int, *, seed: int = 0) -> list[str]:
    """Texts of so many words of `tokenizer`'s."""
    known = words(vocabulary - len(SPECIAL))
    draw = torch.Generator().manual_seed(seed)
    picked = torch.randint(len(known), (count, length), generator=draw).tolist()
    return [" ".join(known[number] for number in each) for each in picked]
