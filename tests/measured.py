"""Small random models and their tokenizer, for the tests of what measures models."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

TEXT = "the a cat dog sat ran on under mat tree big small red blue very not good bad film book"
WORDS = TEXT.split()
SHAPE = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def tiny_tokenizer(vocabulary: int = 64) -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    names += [f"word{i}" for i in range(len(names), vocabulary)]
    raw = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def tiny_bert(labels: tuple[str, ...] = ("no", "yes"), seed: int = 0, **shape: int) -> BertForSequenceClassification:
    """A random BERT, 2 layers of width 32; no labels: a regression head."""
    names = dict(enumerate(labels)) if labels else {0: "LABEL_0"}
    config = BertConfig(
        **(SHAPE | shape),  # type: ignore[arg-type]
        intermediate_size=64,
        max_position_embeddings=64,
        id2label=names,
        label2id={name: i for i, name in names.items()},
        problem_type=None if labels else "regression",
    )
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config).eval()
    for parameter in model.parameters():
        # Far from the small initial weights, so that wrong logits look wrong.
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def sentences(count: int, seed: int = 0) -> list[str]:
    """Sentences of 1 to 20 words."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 21, (count,), generator=draw).tolist()
    return [
        " ".join(WORDS[i] for i in torch.randint(len(WORDS), (length,), generator=draw).tolist()) for length in lengths
    ]


def save_tiny(folder: Path, **options: object) -> Path:
    """Write a tiny checkpoint, as the training stages do."""
    tiny_bert(**options).save_pretrained(folder)  # type: ignore[arg-type]
    tiny_tokenizer().save_pretrained(folder)
    return folder
