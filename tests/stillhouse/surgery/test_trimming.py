"""A trimmed model says the same of every text whose pieces all stay, and every other text can still be cut."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    ElectraConfig,
    ElectraTokenizer,
    ModernBertConfig,
    MPNetConfig,
    MPNetTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from stillhouse.encoders.checkpoint import load_model, load_tokenizer, save_model
from stillhouse.encoders.measure import parameters
from stillhouse.errors import InputError
from stillhouse.methods.trim import count_pieces, pieces_that_stay
from stillhouse.models.modeling_bilstm import BiLstmConfig, BiLstmForSequenceClassification
from stillhouse.models.shape import Shape
from stillhouse.surgery import factorize_embedding, quantize, slice_embedding, trim
from stillhouse.surgery.trimming import named_pieces
from stillhouse.text.trimming import needed_pieces, trim_tokenizer
from stillhouse.text.word_tokenizer import word_tokenizer
from tests import pieces, tiny

FEW = pieces.texts(60, seed=1, words=60)  # what pieces are counted in
OTHERS = pieces.texts(150, seed=2)
AUTO = {
    "classification": AutoModelForSequenceClassification,
    "question answering": AutoModelForQuestionAnswering,
    "masked LM": AutoModelForMaskedLM,
}


def model_for(kind: str, task: str = "classification") -> PreTrainedModel:
    torch.manual_seed(3)
    return AUTO[task].from_config(pieces.config(kind)).eval()


def staying(model, tokenizer, floor: int = 1) -> list[int]:
    return pieces_that_stay(model, tokenizer, count_pieces(tokenizer, FEW), floor)


@torch.no_grad()
def outputs(model, tokenizer, text: str, columns: list[int] | None = None) -> Tensor:
    """Of two sentences of which one is padded; of a masked LM the logits of some pieces."""
    given = tokenizer([text, text + " !"], return_tensors="pt", padding=True)
    said = model(**given)
    logits = said.logits if "logits" in said else torch.stack([said.start_logits, said.end_logits])
    return logits if columns is None else logits[..., columns]


def split(tokenizer, keep: list[int]) -> tuple[list[str], list[str]]:
    """The texts whose pieces all stay, and the others."""
    left = set(keep)
    whole = [text for text in [*FEW, *OTHERS] if left.issuperset(tokenizer(text)["input_ids"])]
    return whole, [text for text in OTHERS if text not in whole]


@pytest.mark.parametrize("kind", pieces.KINDS)
@pytest.mark.parametrize("task", AUTO)
def test_texts_whose_pieces_all_stay_get_the_same_pieces_and_the_same_logits_bit_by_bit(kind, task):
    model, tokenizer = model_for(kind, task), pieces.tokenizer(kind)
    keep = staying(model, tokenizer)
    small, ours = trim(model, tokenizer, keep)
    assert len(ours) == len(keep) == small.config.vocab_size < len(tokenizer) - 80
    whole, others = split(tokenizer, keep)
    assert len(whole) >= len(FEW) and len(others) > 50
    for text in whole:
        assert ours.tokenize(text) == tokenizer.tokenize(text)
        assert [keep[i] for i in ours(text, text)["input_ids"]] == tokenizer(text, text)["input_ids"]
    columns = keep if task == "masked LM" else None
    for text in whole[::5]:
        # Fewer columns may be summed in another order: a masked LM's products are compared to rounding.
        same = torch.equal if columns is None else lambda one, other: torch.allclose(one, other, atol=1e-5)
        assert same(outputs(small, ours, text), outputs(model, tokenizer, text, columns))


@pytest.mark.parametrize("kind", pieces.KINDS)
def test_every_other_text_is_still_cut_and_none_becomes_unknown(kind):
    tokenizer = pieces.tokenizer(kind)
    keep = staying(model_for(kind), tokenizer)
    ours = trim_tokenizer(tokenizer, keep)
    longer = 0
    for text in split(tokenizer, keep)[1]:
        assert ours.unk_token not in ours.tokenize(text)
        assert ours.decode(ours(text, add_special_tokens=False)["input_ids"]).replace(" ", "") == text.replace(" ", "")
        longer += len(ours.tokenize(text)) - len(tokenizer.tokenize(text))
    assert longer > 50


@pytest.mark.parametrize("kind", pieces.KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_it_holds_for_any_choice_of_pieces(kind, seed):
    tokenizer = pieces.tokenizer(kind)
    draw = torch.Generator().manual_seed(seed)
    wanted = torch.randperm(len(tokenizer), generator=draw)[: len(tokenizer) * 3 // 5].tolist()
    keep = needed_pieces(tokenizer, wanted)
    assert set(wanted) < set(keep)
    ours = trim_tokenizer(tokenizer, keep)
    for text in [*FEW, *OTHERS, "Zenla", "é☃ ba", ""]:
        before = tokenizer.tokenize(text)
        if set(keep).issuperset(tokenizer.convert_tokens_to_ids(before)):
            assert ours.tokenize(text) == before


@pytest.mark.parametrize("kind", pieces.KINDS)
def test_special_tokens_and_the_config_have_their_new_ids(kind):
    model, tokenizer = model_for(kind), pieces.tokenizer(kind)
    small, ours = trim(model, tokenizer, staying(model, tokenizer))
    assert ours.special_tokens_map == tokenizer.special_tokens_map
    for name in ("pad", "bos", "eos"):
        before = getattr(model.config, f"{name}_token_id")
        now = getattr(small.config, f"{name}_token_id")
        assert ours.convert_ids_to_tokens(now) == tokenizer.convert_ids_to_tokens(before)
    assert small.get_input_embeddings().padding_idx == ours.pad_token_id
    assert ours.decode(ours("ba", "da")["input_ids"]) == tokenizer.decode(tokenizer("ba", "da")["input_ids"])
    masked = ours(f"ba {ours.mask_token} da")["input_ids"]
    assert masked.count(ours.mask_token_id) == 1
    if kind == "WordPiece":  # two pieces before it have gone
        assert (tokenizer.unk_token_id, ours.unk_token_id) == (3, 1)
        assert ours("☃")["input_ids"] == [2, 1, 3]


@pytest.mark.parametrize("kind", pieces.KINDS)
@pytest.mark.parametrize("task", AUTO)
def test_a_checkpoint_gives_back_what_was_trimmed(kind, task, tmp_path: Path):
    model, tokenizer = model_for(kind, task), pieces.tokenizer(kind)
    small, ours = trim(model, tokenizer, staying(model, tokenizer))
    save_model(small, ours, tmp_path)
    again, theirs = pieces.aligned(load_model(tmp_path, AUTO[task], whole=True)), load_tokenizer(tmp_path)
    assert type(again) is type(model) and type(theirs) is type(tokenizer)
    assert theirs.get_vocab() == ours.get_vocab()
    assert torch.equal(outputs(again, theirs, OTHERS[0]), outputs(small, ours, OTHERS[0]))
    assert parameters(again) == parameters(small) < parameters(model)
    core = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))  # what serves a model without transformers
    assert core.encode(OTHERS[0]).ids == ours(OTHERS[0])["input_ids"]


@pytest.mark.parametrize("kind", pieces.KINDS)
def test_a_masked_lms_decoder_and_bias_stay_tied_and_get_smaller(kind):
    model, tokenizer = model_for(kind, "masked LM"), pieces.tokenizer(kind)
    with torch.no_grad():
        model.get_output_embeddings().bias.uniform_()
    keep = staying(model, tokenizer)
    small, _ = trim(model, tokenizer, keep)
    decoder = small.get_output_embeddings()
    assert decoder.weight is small.get_input_embeddings().weight and decoder.out_features == len(keep)
    assert torch.equal(decoder.bias, model.get_output_embeddings().bias[keep])
    assert [len(weight) for weight in small.parameters() if weight is decoder.bias] == [len(keep)]


SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
SPECIAL = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}


def mpnet() -> tuple:
    """[UNK] stands among the words, and positions are counted from the padding on."""
    ids = pieces.tokenizer("WordPiece").get_vocab()
    known = [piece for piece in sorted(ids, key=ids.__getitem__) if not piece.startswith("[")]
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *known[:40], "[UNK]", *known[40:], "<mask>"]
    tokenizer = MPNetTokenizer(vocab={piece: i for i, piece in enumerate(vocabulary)}, strip_accents=False)
    return MPNetConfig(vocab_size=len(vocabulary), max_position_embeddings=80, **SMALL), tokenizer


def electra() -> tuple:
    """Word vectors are narrower than the layers, with a matrix of the family's own between."""
    tokenizer = ElectraTokenizer(vocab=pieces.tokenizer("WordPiece").get_vocab(), strip_accents=False)
    return ElectraConfig(vocab_size=len(tokenizer), embedding_size=16, **SMALL), tokenizer


def modernbert() -> tuple:
    """Byte-level BPE with special tokens at the end, and rows that no piece has."""
    tree = json.loads(pieces.tokenizer("BPE").backend_tokenizer.to_str())
    known = [piece for piece in tree["model"]["vocab"] if len(piece) == 1 or not piece.startswith("<")]
    merges = [*map(tuple, tree["model"]["merges"])]
    core = Tokenizer(models.BPE({piece: i for i, piece in enumerate(known)}, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(name) for name in ("[UNK]", *SPECIAL.values())])
    around = [(name, core.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    core.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", around)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", **SPECIAL)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    ids |= {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    return ModernBertConfig(vocab_size=len(tokenizer) + 8, **ids, **SMALL), tokenizer


@pytest.mark.parametrize("family", [mpnet, electra, modernbert], ids=lambda family: family.__name__)
@pytest.mark.parametrize("auto", [AutoModelForSequenceClassification, AutoModelForMaskedLM])
def test_families_that_no_other_surgery_knows_are_trimmed(family, auto, tmp_path: Path):
    config, tokenizer = family()
    model = auto.from_config(config).eval()
    keep = staying(model, tokenizer)
    small, ours = trim(model, tokenizer, keep)
    columns = keep if auto is AutoModelForMaskedLM else None
    for text in FEW[:5]:
        assert torch.allclose(outputs(small, ours, text), outputs(model, tokenizer, text, columns), atol=1e-5)
    before, after = model.config.to_dict(), small.config.to_dict()
    named = [name for name, number in after.items() if name.endswith("_token_id") and number is not None]
    assert named and all(keep[after[name]] == before[name] for name in named)
    save_model(small, ours, tmp_path)
    again, theirs = load_model(tmp_path, auto, whole=True), load_tokenizer(tmp_path)
    assert torch.allclose(outputs(again, theirs, OTHERS[0]), outputs(small, ours, OTHERS[0]), atol=1e-5)
    assert len(theirs) == len(keep) == again.config.vocab_size < len(tokenizer) - 80


def test_an_untied_decoder_is_cut_by_itself():
    config = copy.deepcopy(pieces.config("WordPiece"))
    config.tie_word_embeddings = False
    model, tokenizer = AutoModelForMaskedLM.from_config(config).eval(), pieces.tokenizer("WordPiece")
    keep = staying(model, tokenizer)
    small, _ = trim(model, tokenizer, keep)
    assert torch.equal(small.get_output_embeddings().weight, model.get_output_embeddings().weight[keep])
    assert torch.equal(small.get_input_embeddings().weight, model.get_input_embeddings().weight[keep])
    assert not torch.equal(small.get_input_embeddings().weight, small.get_output_embeddings().weight)


def eight_bits(model: PreTrainedModel) -> PreTrainedModel:
    return quantize(model, embeddings=True)


THIN = {
    "factorized": lambda model: factorize_embedding(model, 8),
    "eight bits": eight_bits,
    "factorized, eight bits": lambda model: eight_bits(factorize_embedding(model, 8)),
    "narrower": lambda model: slice_embedding(model, range(20)),
}


@pytest.mark.parametrize("kind", pieces.KINDS)
@pytest.mark.parametrize("what", THIN)
def test_thin_word_vectors_are_trimmed_too_and_say_the_same(kind, what, tmp_path: Path):
    model, tokenizer = THIN[what](model_for(kind)), pieces.tokenizer(kind)
    keep = staying(model, tokenizer)
    small, ours = trim(model, tokenizer, keep)
    for text in split(tokenizer, keep)[0][::10]:
        assert torch.equal(outputs(small, ours, text), outputs(model, tokenizer, text))
    save_model(small, ours, tmp_path)
    again = pieces.aligned(load_model(tmp_path, AutoModelForSequenceClassification, whole=True))
    assert torch.equal(outputs(again, ours, OTHERS[0]), outputs(small, ours, OTHERS[0]))
    assert parameters(again) < parameters(model)


def test_eight_bits_of_trimmed_word_vectors_are_the_trimmed_eight_bits_in_either_order():
    model, tokenizer = model_for("WordPiece"), pieces.tokenizer("WordPiece")
    keep = staying(model, tokenizer)
    first, last = eight_bits(trim(model, tokenizer, keep)[0]), trim(eight_bits(model), tokenizer, keep)[0]
    assert first.config.to_dict() == last.config.to_dict()
    states = first.state_dict(), last.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(weight, states[1][name]) for name, weight in states[0].items())


def test_a_trimmed_model_is_factorized_and_a_factorized_masked_lm_is_trimmed():
    tokenizer = pieces.tokenizer("BPE")
    model = model_for("BPE")
    keep = staying(model, tokenizer)
    thin = factorize_embedding(trim(model, tokenizer, keep)[0], 8)
    assert Shape.of(thin.config).embedding_size == 8 and thin.config.vocab_size == len(keep)
    masked = factorize_embedding(model_for("BPE", "masked LM"), 8)
    small, ours = trim(masked, tokenizer, keep)
    assert torch.allclose(outputs(small, ours, FEW[0]), outputs(masked, tokenizer, FEW[0], keep), atol=1e-5)
    assert torch.equal(small.get_output_embeddings().bias, masked.get_output_embeddings().bias[keep])


def test_the_model_and_the_tokenizer_that_were_given_stay_as_they_are():
    model, tokenizer = model_for("BPE", "masked LM"), pieces.tokenizer("BPE")
    weights, config = copy.deepcopy(model.state_dict()), model.config.to_dict()
    vocabulary = tokenizer.get_vocab()
    trim(model, tokenizer, staying(model, tokenizer))
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert model.config.to_dict() == config and tokenizer.get_vocab() == vocabulary


def test_trimming_twice_is_trimming_once():
    model, tokenizer = model_for("BPE"), pieces.tokenizer("BPE")
    once, ours = trim(model, tokenizer, staying(model, tokenizer))
    twice, again = trim(once, ours, staying(once, ours))
    assert again.get_vocab() == ours.get_vocab()
    assert torch.equal(twice.get_input_embeddings().weight, once.get_input_embeddings().weight)


def test_where_positions_are_counted_from_the_paddings_id_all_up_to_it_stays():
    config, tokenizer = copy.deepcopy(pieces.config("BPE")), pieces.tokenizer("BPE")
    config.pad_token_id = 9
    model = AutoModelForSequenceClassification.from_config(config)
    assert named_pieces(model, tokenizer) == set(range(10))
    small, _ = trim(model, tokenizer, staying(model, tokenizer))
    assert small.config.pad_token_id == small.get_input_embeddings().padding_idx == 9
    assert named_pieces(model_for("WordPiece"), pieces.tokenizer("WordPiece")) == {0, 4, 5}


def test_positions_that_are_counted_from_no_piece_are_refused():
    config, tokenizer = copy.deepcopy(pieces.config("BPE")), pieces.tokenizer("BPE")
    config.vocab_size, config.pad_token_id, config.max_position_embeddings = 700, 690, 800
    model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(InputError, match="positions are counted from the padding's id 690, which is no piece"):
        trim(model, tokenizer, staying(model, tokenizer))


def test_rows_and_ids_beyond_all_pieces_go():
    config, tokenizer = copy.deepcopy(pieces.config("WordPiece")), pieces.tokenizer("WordPiece")
    config.vocab_size = 700
    config.bos_token_id, config.eos_token_id = 690, [5, 50282]
    model = AutoModelForSequenceClassification.from_config(config)
    keep = staying(model, tokenizer)
    small, _ = trim(model, tokenizer, keep)
    assert small.config.vocab_size == small.get_input_embeddings().num_embeddings == len(keep)
    assert (small.config.bos_token_id, small.config.eos_token_id) == (None, [3])


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ([5, 4], "an id is named twice, or they are not in order"),
        ([5, 6], "that are needed are missing, such as ['[PAD]', '[CLS]']: add them"),
        ([*range(len(pieces.tokenizer("WordPiece"))), 999], "[999] are no ids of the tokenizer"),
    ],
)
def test_pieces_that_do_not_fit_are_refused_in_one_line(keep, words):
    with pytest.raises(InputError, match=re.escape(words)):
        trim(model_for("WordPiece"), pieces.tokenizer("WordPiece"), keep)


def test_a_model_with_fewer_word_vectors_than_the_tokenizer_has_pieces_is_refused():
    with pytest.raises(InputError, match=r"the model has 33 word vectors, its tokenizer \d+ pieces"):
        trim(tiny.bert(), pieces.tokenizer("WordPiece"), [0])


def test_a_word_tokenizer_is_refused_in_one_line():
    words = word_tokenizer(FEW, size=30, least=1, mask="[MASK]")
    shape = {"embedding_size": 8, "hidden_size": 8, "dense_size": 8, "pair": False, "dropout": 0.0}
    model = BiLstmForSequenceClassification(BiLstmConfig(vocab_size=30, pad_token_id=0, num_labels=2, **shape))
    with pytest.raises(InputError, match="has a WordLevel tokenizer: its pieces cannot be trimmed"):
        staying(model, words)
