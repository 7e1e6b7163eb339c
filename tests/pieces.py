"""Texts of made-up words, and a tokenizer of each kind that was trained on them, with pieces of every length."""

import json
import re
from functools import cache
from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, Features, Value
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizerFast,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaTokenizerFast,
)

from stillhouse.encoders.checkpoint import save_model
from tests import tiny

KINDS = ("WordPiece", "BPE", "Unigram")
SYLLABLES = re.findall(
    r"\w+", "ba be bo da di du fil ka ki ko la le lu ma mé ni no pa plo ra re sce sto ta ti tor vi zen"
)


@cache
def texts(count: int, seed: int = 0, words: int = 300) -> list[str]:
    """Sentences of the first `words` of the same 300 words, the first ones most often."""
    draw = torch.Generator().manual_seed(7)
    known = []
    for _ in range(300):
        length = int(torch.randint(1, 5, (), generator=draw))
        known.append("".join(SYLLABLES[int(torch.randint(len(SYLLABLES), (), generator=draw))] for _ in range(length)))
    draw = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        length = int(torch.randint(2, 9, (), generator=draw))
        places = (torch.rand(length, generator=draw) ** 2 * words).long().tolist()
        made.append(" ".join(known[place] for place in places) + " !")
    return made


TRAIN, VALIDATION = texts(64, seed=1, words=60), texts(40, seed=2, words=120)


@cache
def tokenizer(kind: str, size: int = 640) -> PreTrainedTokenizerBase:
    """BERT's, RoBERTa's or XLM-RoBERTa's, with `size` pieces at most."""
    if kind == "WordPiece":
        core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        core.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
        core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        # Two words that no text has stand before [UNK]: it gets another id when they go.
        special = ["[PAD]", "bababa", "tatata", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        core.train_from_iterator(
            texts(600), trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
        )
        return BertTokenizerFast(vocab=core.get_vocab(), strip_accents=False)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    if kind == "BPE":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[*special, "<mask>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        core.train_from_iterator(texts(600), trainer)
        return RobertaTokenizerFast(vocab=core.get_vocab(), merges=[*map(tuple, _model(core)["merges"])])
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False, max_piece_length=12
    )
    core.train_from_iterator(texts(600), trainer)
    return XLMRobertaTokenizerFast(vocab=[*map(tuple, _model(core)["vocab"]), ("<mask>", 0.0)])


def config(kind: str) -> PreTrainedConfig:
    """Of two layers, 32 wide, for `tokenizer(kind)`: BERT's, RoBERTa's or XLM-RoBERTa's."""
    made: type[PreTrainedConfig] = {"WordPiece": BertConfig, "BPE": RobertaConfig, "Unigram": XLMRobertaConfig}[kind]
    ours = tokenizer(kind)
    return made(
        vocab_size=len(ours),
        pad_token_id=ours.pad_token_id,
        bos_token_id=ours.cls_token_id,
        eos_token_id=ours.sep_token_id,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=80,
        initializer_range=0.2,
        id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1},
    )


def write_task(folder: Path, kind: str, pair: bool = False) -> None:
    """A task of such texts in FOLDER/data/task, and a teacher of random weights in FOLDER/models/teacher."""
    for split, said in (("train", TRAIN), ("validation", VALIDATION)):
        columns: dict = {"text": said, "label": [len(text.split()) % 2 for text in said]}
        features = {"text": Value("string"), "label": ClassLabel(names=["bad", "good"])}
        if pair:
            columns["text_pair"], features["text_pair"] = texts(len(said), seed=3, words=90), Value("string")
        Dataset.from_dict(columns, Features(features)).to_parquet(folder / f"data/task/{split}.parquet")
        tiny.state_kind(folder / f"data/task/{split}.parquet", "classes")
    torch.manual_seed(3)
    save_model(AutoModelForSequenceClassification.from_config(config(kind)), tokenizer(kind), folder / "models/teacher")


def aligned(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its weights at even addresses, as one that was not read from a file has them.

    A file's header decides where its weights lie, and that decides how a processor sums a product: a bit may differ.
    """
    for weight in model.parameters():
        weight.data = weight.data.clone()
    return model


def _model(core: Tokenizer) -> dict:
    return json.loads(core.to_str())["model"]
