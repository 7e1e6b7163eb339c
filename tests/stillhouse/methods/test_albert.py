"""ALBERT's parameter counts, sharing, and sentence-order prediction."""

import math
import re
from collections import Counter

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertModel,
)

from stillhouse.encoders.checkpoint import load_model
from stillhouse.encoders.families import encoder, encoder_layers
from stillhouse.encoders.measure import flops, parameters
from stillhouse.errors import InputError
from stillhouse.methods.albert import (
    Pretraining,
    layer_groups,
    order_segments,
    parameter_count,
    pretraining_step,
    sentence_order_loss,
    shared,
)
from stillhouse.models.compact import CompactBertModel
from stillhouse.models.configuration_compact import CompactBertConfig
from stillhouse.training.batches import collate, collator, model_inputs
from stillhouse.training.loop import fit
from stillhouse.training.masking import masked_lm_loss
from tests import tiny

# N, H, heads, I of tables 1 to 4 (V = 30,000, P = 512, T = 2)
BASE, LARGE = (12, 768, 12, 3072), (24, 1024, 16, 4096)
XLARGE, XXLARGE = (24, 2048, 16, 8192), (12, 4096, 64, 16384)
# Shape, E, what is shared by all layers, and the millions that the paper prints.
PUBLISHED = [
    (BASE, 128, "all", 12),
    (LARGE, 128, "all", 18),
    (XLARGE, 128, "all", 60),
    (BASE, None, "all", 31),
    (BASE, None, "attention", 83),
    (BASE, None, "ffn", 57),
    (BASE, None, "none", 108),
    (BASE, 128, "attention", 64),
    (BASE, 128, "ffn", 38),
    (BASE, 128, "none", 89),
    (BASE, 64, "all", 10),
    (BASE, 256, "all", 16),
    (BASE, 64, "none", 87),
    (BASE, 256, "none", 93),
    (LARGE, None, "none", 334),
]
OURS = [*PUBLISHED, (XXLARGE, 128, "all", 225)]


def count(shape, embedding_size, share, *, groups=1, vocabulary=30000, pooler=True):
    layers, hidden, _, intermediate = shape
    return parameter_count(
        vocabulary=vocabulary, positions=512, token_types=2, hidden_size=hidden, intermediate_size=intermediate,
        layers=layers, embedding_size=embedding_size, share=share, groups=groups, pooler=pooler,
    )  # fmt: skip


def built(shape, embedding_size, share, groups=1):
    """The encoder itself, without memory behind its weights."""
    layers, hidden, heads, intermediate = shape
    uses, own = layer_groups(layers, groups, "average"), list(range(layers))
    config = CompactBertConfig(
        vocab_size=30000, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=intermediate, embedding_size=embedding_size,
        attention_of=uses if share in ("all", "attention") else own, ffn_of=uses if share in ("all", "ffn") else own,
    )  # fmt: skip
    with torch.device("meta"):
        return CompactBertModel(config)


@pytest.mark.parametrize(("shape", "embedding_size", "share", "millions"), PUBLISHED)
def test_the_formula_gives_the_published_counts(shape, embedding_size, share, millions):
    # The paper's rows with something shared agree with the encoder and its pooler, the others with the encoder alone.
    assert round(count(shape, embedding_size, share, pooler=share != "none") / 1e6) == millions


@pytest.mark.parametrize(("shape", "embedding_size", "share", "millions"), OURS)
def test_a_model_of_that_shape_has_just_so_many_parameters(shape, embedding_size, share, millions):
    assert parameters(built(shape, embedding_size, share)) == count(shape, embedding_size, share)


@pytest.mark.parametrize("share", ["all", "attention", "ffn", "none"])
@pytest.mark.parametrize("groups", [1, 2, 3, 12])
def test_groups_count_their_own_weights(share, groups):
    assert parameters(built(BASE, 128, share, groups)) == count(BASE, 128, share, groups=groups)
    if groups == 12:
        assert count(BASE, 128, share, groups=groups) == count(BASE, 128, "none")


def test_the_largest_published_count_is_ten_million_above_what_its_shape_has():
    # 235 M in the paper's table; the shape given there has fewer, and so has the released checkpoint's.
    assert count(XXLARGE, 128, "all") == 224_638_976


@pytest.mark.parametrize("shape", [BASE, LARGE, XLARGE, XXLARGE])
def test_the_released_albert_differs_in_embeddings_that_are_e_wide_and_a_bias(shape):
    layers, hidden, heads, intermediate = shape
    config = AlbertConfig(
        vocab_size=30000, embedding_size=128, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=intermediate,
    )  # fmt: skip
    with torch.device("meta"):
        theirs = parameters(AlbertModel(config))
    # Positions, token types, and LayerNorm's two vectors.
    assert theirs == count(shape, 128, "all") - (512 + 2 + 2) * (hidden - 128) + hidden


# 110 M and 340 M in BERT's own paper.
@pytest.mark.parametrize(("shape", "known"), [(BASE, 109_482_240), (LARGE, 335_141_888)])
def test_berts_own_vocabulary_gives_berts_own_counts(shape, known):
    layers, hidden, heads, intermediate = shape
    with torch.device("meta"):
        theirs = BertModel(
            BertConfig(
                hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=intermediate
            )
        )
    assert count(shape, None, "none", vocabulary=30522) == parameters(theirs) == known


def masked_lm(layers=4, seed=0):
    config = tiny.bert(layers=layers).config
    torch.manual_seed(seed)
    return BertForMaskedLM(config).eval()


def rows():
    """Pairs of segments as the recipe tokenizes them."""
    texts = (["the film is good", "a plot", "this story"], ["it was very dull", "the actor was fine", "that was it"])
    coder = tiny.tokenizer()
    tokens = coder(*texts, return_attention_mask=False)
    sides = [tokens.sequence_ids(row) for row in range(3)]
    return [
        {"input_ids": ids, "token_type_ids": types, "first": side.count(0), "second": side.count(1)}
        for ids, types, side in zip(tokens["input_ids"], tokens["token_type_ids"], sides, strict=True)
    ]


def batch():
    return collate(rows(), pad_id=0)


def outputs(model):
    with torch.no_grad():
        return model(**model_inputs(batch())).logits


def shape_of(**changes):
    return {"share": "all", "groups": 1, "start": "average", "embedding_size": None} | changes


def test_groups_of_one_layer_change_nothing():
    model = masked_lm()
    for changes in ({"groups": 4}, {"groups": 4, "start": 1}, {"share": "none"}):
        same = shared(model, **shape_of(**changes))
        assert torch.equal(outputs(same), outputs(model)) and type(same) is BertForMaskedLM


@pytest.mark.parametrize("share", ["all", "attention", "ffn"])
def test_equal_layers_are_their_own_average(share):
    model = masked_lm()
    for layer in encoder_layers(model)[1:]:
        layer.load_state_dict(encoder_layers(model)[0].state_dict())
    assert torch.allclose(outputs(shared(model, **shape_of(share=share))), outputs(model), atol=1e-5)


def test_a_group_starts_as_the_average_of_its_layers_or_as_one_of_them():
    model = masked_lm()
    theirs = [layer.intermediate.dense.weight for layer in encoder_layers(model)]
    average = encoder_layers(shared(model, **shape_of(groups=2)))
    assert torch.allclose(average[0].intermediate.dense.weight, (theirs[0] + theirs[1]) / 2)
    assert torch.allclose(average[2].intermediate.dense.weight, (theirs[2] + theirs[3]) / 2)
    second = encoder_layers(shared(model, **shape_of(groups=2, start=2)))
    assert torch.equal(second[1].intermediate.dense.weight, theirs[1])
    assert torch.equal(second[3].intermediate.dense.weight, theirs[3])


@pytest.mark.parametrize("start", ["average", 3])
def test_what_is_not_shared_stays_each_layers_own(start):
    model = masked_lm()
    for share, part in (("attention", "output.dense.weight"), ("ffn", "attention.self.query.weight")):
        same = shared(model, **shape_of(share=share, start=start))
        for ours, theirs in zip(encoder_layers(same), encoder_layers(model), strict=True):
            assert torch.equal(ours.get_parameter(part), theirs.get_parameter(part))


def test_a_shared_layer_computes_as_often_as_there_are_layers():
    classifier = tiny.bert(layers=4)
    small = shared(classifier, **shape_of())
    assert parameters(small) < 0.4 * parameters(classifier)
    assert flops(small, 8) == flops(classifier, 8)


def test_shared_weights_are_saved_once_and_come_back_equal(tmp_path):
    classifier = tiny.bert(layers=4)
    small = shared(classifier, **shape_of(groups=2, embedding_size=8))
    folder = tiny.save(small, tmp_path / "small")
    again = load_model(folder, AutoModelForSequenceClassification)
    assert torch.equal(outputs(again), outputs(small))
    saved = (folder / "model.safetensors").stat().st_size
    assert 4 * parameters(small) < saved < 4 * parameters(small) + 20_000
    assert encoder_layers(again)[0].output.dense.weight is encoder_layers(again)[1].output.part.dense.weight


def test_a_swapped_pair_is_what_the_tokenizer_makes_of_the_other_order():
    given = batch()
    swapped = torch.tensor([True, False, True])
    ordered = order_segments(model_inputs(given), given["first"], given["second"], swapped)
    texts = [("it was very dull", "the film is good"), ("a plot", "the actor was fine"), ("that was it", "this story")]
    expected = tiny.tokenizer()([a for a, _ in texts], [b for _, b in texts], padding=True, return_tensors="pt")
    width = expected["input_ids"].shape[1]
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        assert torch.equal(ordered[name][:, :width], expected[name])
        assert not ordered[name][:, width:].any()


def test_two_separators_stay_between_the_segments():
    # <s> a b </s></s> c </s>, without token types
    inputs = {"input_ids": torch.tensor([[0, 7, 8, 2, 2, 9, 2, 1]]), "attention_mask": torch.tensor([[1] * 7 + [0]])}
    ordered = order_segments(inputs, torch.tensor([2]), torch.tensor([1]), torch.tensor([True]))
    assert ordered["input_ids"].tolist() == [[0, 9, 2, 2, 7, 8, 2, 1]]
    back = order_segments(ordered, torch.tensor([1]), torch.tensor([2]), torch.tensor([True]))
    assert torch.equal(back["input_ids"], inputs["input_ids"]) and "token_type_ids" not in back


def test_the_label_says_swapped_and_costs_its_log_probability():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.5]])
    loss = sentence_order_loss(logits, torch.tensor([True, False]))
    assert loss.item() == pytest.approx((math.log(1 + math.exp(3.0)) + math.log(2)) / 2)


def wrapped(mlm=1.0, sop=1.0):
    return Pretraining(masked_lm(), {"mlm": mlm, "sop": sop}, seed=1).eval()


def masked():
    inputs = model_inputs(batch())
    ids, chosen = inputs["input_ids"], torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    chosen[0, 1] = chosen[2, 2] = True
    return inputs | {"input_ids": ids.masked_fill(chosen, 4)}, ids, chosen, torch.tensor([True, False, True])


def test_the_two_terms_are_those_of_the_formula():
    model = wrapped(mlm=2.0, sop=3.0)
    inputs, ids, chosen, swapped = masked()
    terms = model(inputs, ids, chosen, swapped)
    state = model.model.bert(**inputs).last_hidden_state[:, 0]
    head = model.order
    logits = torch.tanh(state @ head.dense.weight.T + head.dense.bias) @ head.logits.weight.T + head.logits.bias
    assert terms["sop"].item() == pytest.approx(3 * F.cross_entropy(logits, swapped.long()).item(), rel=1e-5)
    hard = masked_lm_loss(model.model, inputs, ids, chosen)
    assert terms["mlm"].item() == pytest.approx(2 * hard.item(), rel=1e-5)


@pytest.mark.parametrize(("weights", "left"), [((1.0, 0.0), "mlm"), ((0.0, 1.0), "sop")])
def test_a_term_of_weight_0_is_left_out_and_all_that_is_trained_gets_a_gradient(weights, left):
    model = wrapped(*weights)
    terms = model(*masked())
    assert set(terms) == {left}
    terms[left].backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in trained.values())
    assert any("order" in name for name in trained) == (left == "sop")


def test_the_model_sees_the_order_that_its_label_says_and_each_as_often():
    seen = Counter()
    given = batch()
    kept = model_inputs(given)["input_ids"]

    class Watch(torch.nn.Module):
        def forward(self, inputs, ids, chosen, swapped):
            for row, label in enumerate(swapped.tolist()):
                assert torch.equal(ids[row], kept[row]) != label
                seen[label] += 1
            assert torch.equal(inputs["input_ids"][~chosen], ids[~chosen]) and not chosen[:, 0].any()
            return {}

    step = pretraining_step(0.15, 4, [0, 1, 2, 3, 4], 33)
    torch.manual_seed(0)
    for _ in range(100):
        step(Watch(), given)
    # Four standard deviations of 300 coins are 35.
    assert abs(seen[True] - 150) < 35


def test_order_is_learnt_where_the_words_tell_it(tmp_path):
    coder = tiny.tokenizer()
    texts = tiny.sentences(96, seed=5)[0]
    tokens = coder([f"the {text}" for text in texts], ["it was and this"] * 96)
    data = [
        {"input_ids": ids, "token_type_ids": types, "first": tokens.sequence_ids(row).count(0), "second": 4}
        for row, (ids, types) in enumerate(zip(tokens["input_ids"], tokens["token_type_ids"], strict=True))
    ]
    model = Pretraining(masked_lm(layers=1), {"mlm": 0.0, "sop": 1.0}, seed=1)
    torch.manual_seed(0)
    fit(
        model, pretraining_step(0.15, 4, [0, 1, 2, 3, 4], 33), data, collator(0), epochs=8, batch_size=16,
        learning_rate=3e-3, seed=0, checkpoints=tmp_path, precision="fp32",
    )  # fmt: skip
    whole, swapped = collate(data, 0), torch.arange(96) % 2 == 0
    inputs = order_segments(model_inputs(whole), whole["first"], whole["second"], swapped)
    with torch.no_grad():
        says = model.eval().order(model.model.bert(**inputs).last_hidden_state).argmax(1).bool()
    assert (says == swapped).float().mean() > 0.9


def test_the_encoder_is_the_masked_lms_own():
    model = wrapped()
    assert encoder(model.model) is model.model.bert


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 3}, "groups = 3 do not divide the model's 4 layers: choose from [1, 2, 4]"),
        ({"groups": 8}, "groups = 8 do not divide the model's 4 layers: choose from [1, 2, 4]"),
        ({"groups": 2, "start": 3}, "start = 3: a group has layers 1 to 2: choose one of them, or average"),
        ({"start": 0}, "start = 0: a group has layers 1 to 4: choose one of them, or average"),
        ({"embedding_size": 17}, "embedding_size = 17: word vectors 33×32 get smaller by 1 to 16 alone"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_in_one_line(changes, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        shared(masked_lm(), **shape_of(**changes))
    assert "\n" not in str(caught.value)
