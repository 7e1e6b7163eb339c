"""Sizes against closed formulas, and times against calls of known length."""

import time

import numpy as np
import pytest
import torch
from transformers import RobertaConfig, RobertaForSequenceClassification

from stillhouse.encoders.measure import checkpoint_bytes, flops, longest_input, nonzero_parameters, parameters, sparsity
from stillhouse.errors import InputError
from stillhouse.onnx.latency import hardware, summary, time_in_turns, token_batch
from tests import tiny


def test_flops_of_bert_follow_the_formula():
    for layers, width, tokens in ((2, 32, 7), (3, 48, 20)):
        model = tiny.bert(layers=layers, width=width, labels=("a", "b", "c"))
        inner = model.config.intermediate_size
        layer = 8 * tokens * width**2 + 4 * tokens * width * inner + 4 * tokens**2 * width
        assert flops(model, tokens) == layers * layer + 2 * width**2 + 2 * width * 3


def test_counting_flops_leaves_the_model_as_it_was():
    model = tiny.bert().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flops(model, 8)
    assert model.training
    assert model.config._attn_implementation != "eager"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_more_tokens_than_positions_are_refused():
    with pytest.raises(InputError, match=r"evaluate.tokens = 65: the model takes 64"):
        flops(tiny.bert(), 65)


def test_roberta_takes_fewer_tokens_than_it_has_positions():
    config = RobertaConfig(max_position_embeddings=66, vocab_size=30, hidden_size=8, num_attention_heads=2)
    model = RobertaForSequenceClassification(config)
    assert longest_input(model) == 64
    model(input_ids=torch.full((1, 64), 7))


def test_parameters_of_bert_follow_the_formula():
    model = tiny.bert(layers=2, width=32)
    config, d = model.config, 32
    embeddings = (config.vocab_size + config.max_position_embeddings + 2) * d + 2 * d
    layer = 4 * (d * d + d) + 2 * d * 64 + 64 + d + 4 * d
    assert parameters(model) == embeddings + 2 * layer + d * d + d + 2 * d + 2


def test_zeros_count_as_sparsity_but_not_as_fewer_parameters_or_bytes(tmp_path):
    model = tiny.bert()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    tiny.save(model, tmp_path / "full")
    assert sparsity(model) == 0
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    with torch.no_grad():
        for matrix in matrices:
            matrix.view(-1)[::2] = 0
    tiny.save(model, tmp_path / "half")
    assert sparsity(model) == pytest.approx(0.5)
    assert parameters(model) - nonzero_parameters(model) == sum(matrix.numel() for matrix in matrices) / 2
    assert checkpoint_bytes(tmp_path / "half") == checkpoint_bytes(tmp_path / "full") >= 4 * parameters(model)


def test_calls_are_timed_in_turns():
    order = []

    def sleeps(name: str, seconds: float):
        return lambda: (order.append(name), time.sleep(seconds))

    times = time_in_turns({"a": sleeps("a", 0.002), "b": sleeps("b", 0.01)}, repeats=5)
    assert "".join(order[-10:]) == "ababababab"
    assert times["a"].shape == (5,)
    assert 0.002 <= np.median(times["a"]) < np.median(times["b"])


def test_a_summary_has_percentiles_in_milliseconds_and_sentences_a_second():
    assert summary(np.linspace(0.001, 0.101, 101), 32) == {
        "p50_ms": 51.0,
        "p99_ms": 100.0,
        "throughput_per_s": round(32 / 0.051, 2),
    }


def test_the_timed_sentences_are_the_same_each_time():
    one, other = token_batch(4, 16, 29), token_batch(4, 16, 29)
    assert one["input_ids"].shape == (4, 16)
    assert one["input_ids"].max() < 29
    np.testing.assert_array_equal(one["input_ids"], other["input_ids"])


def test_the_later_half_of_a_timed_pair_is_its_second_sentence():
    pairs, sentences = token_batch(4, 7, 29, pair=True), token_batch(4, 7, 29)
    assert pairs["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1, 1]] * 4
    assert not sentences["token_type_ids"].any()
    np.testing.assert_array_equal(pairs["input_ids"], sentences["input_ids"])


def test_a_pair_costs_a_transformer_what_a_sentence_of_its_length_does():
    for model in (tiny.bert(), RobertaForSequenceClassification(RobertaConfig(num_hidden_layers=1, vocab_size=30))):
        assert flops(model, 8, pair=True) == flops(model, 8)


def test_the_hardware_is_named_with_its_cores():
    assert hardware().endswith(" cores")
