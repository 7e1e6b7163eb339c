"""A tiny model with random weights of every family, with any head, and a tokenizer that goes with it."""

from collections.abc import Sequence

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stillhouse.families.find import FAMILIES
from tests.tiny import WORDS

SPECIAL = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]  # padding has id 1, as MPNet counts positions from it
VOCABULARY = [*SPECIAL, *WORDS]
IDS = torch.tensor([[0, 7, 8, 9, 10, 11, 2], [0, 11, 12, 2, 1, 1, 1]])  # two sentences, the second padded
MASK = (IDS != 1).long()

SHAPE = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
    "pad_token_id": 1,
    "id2label": {0: "bad", 1: "good"},
    "label2id": {"bad": 0, "good": 1},
}
# What a family's config has besides, and what it calls those.
MORE: dict[str, dict] = {
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    # As in DeBERTa-v3: distances in buckets, their vectors normed, one projection for words and distances.
    "deberta-v2": {
        **{"relative_attention": True, "position_buckets": 4, "max_relative_positions": -1, "share_att_key": True},
        **{"pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm", "position_biased_input": False},
    },
    # Layers 2 and 3 look two tokens to either side.
    "modernbert": {"local_attention": 4, "bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2},
}
PREFIX = {"electra": "Electra"}
TYPED = ("bert", "electra", "albert")


def model(
    name: str, head: str = "ForSequenceClassification", layers: int = 2, seed: int = 0, **changes
) -> PreTrainedModel:
    """A model of a family, with the head whose class ends like this ("" for none), in eval mode."""
    shape = SHAPE | {"num_hidden_layers": layers} | MORE.get(name, {}) | changes
    shape[FAMILIES[name].units] = shape.pop("intermediate_size")
    prefix = FAMILIES[name].prefix or PREFIX[name]
    torch.manual_seed(0)
    return getattr(transformers, f"{prefix}{head}")(getattr(transformers, f"{prefix}Config")(**shape)).eval()


def tokenizer(name: str, more: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer with `more` pieces; it gives token types where the family has them."""
    ids = {word: i for i, word in enumerate([*VOCABULARY, *more])}
    core = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    inputs = ["input_ids", *(["token_type_ids"] if name in TYPED else []), "attention_mask"]
    special = {f"{word.lower()[1:-1]}_token": word for word in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_input_names=inputs, **special)
