"""A tiny masked LM whose vocabulary has words, inner pieces, capitals and special tokens."""

import re
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"]
WHOLE = re.findall(
    r"\w+", "film movie story plot actor scene music dull great fine poor slow bright loud warm cold deep"
)
FUNCTION = ["the", "a", "is", "was", "and", "not", ",", ".", "!", "7"]
PIECES = ["##ish", "##er", "##ly", "##s"]
VOCABULARY = [*SPECIAL, *WHOLE, *FUNCTION, *PIECES]


def tokenizer() -> BertTokenizerFast:
    ids = {piece: i for i, piece in enumerate(VOCABULARY)}
    core = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return BertTokenizerFast(tokenizer_object=core)


def masked_lm(seed: int = 0) -> BertForMaskedLM:
    """A random BERT whose predictions differ from place to place."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        initializer_range=0.3,
        pad_token_id=0,
    )
    return BertForMaskedLM(config).eval()


def save(folder: Path, seed: int = 0) -> Path:
    """A checkpoint folder."""
    masked_lm(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def sentences(count: int, seed: int = 0) -> list[str]:
    """Texts with capitals, odd spacing, punctuation and words of several pieces."""
    draw = torch.Generator().manual_seed(seed)

    def pick(choices: list[str]) -> str:
        return choices[int(torch.randint(len(choices), (), generator=draw))]

    texts = []
    for _ in range(count):
        words = [pick([*WHOLE, *FUNCTION, "warmer", "slowly", "Filmish"]) for _ in range(3 + int(pick(list("0369"))))]
        texts.append(pick(["The ", "  A", ""]) + pick([" ", "  "]).join(words) + pick(["", ".", " !"]))
    return texts
