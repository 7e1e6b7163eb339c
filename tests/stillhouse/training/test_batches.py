import tracemalloc

import pytest
import torch

from stillhouse.training import batches
from stillhouse.training.batches import LengthGroupedSampler, RandomSampler, collate


def test_every_row_comes_once_an_epoch_and_the_order_changes_between_epochs():
    sampler = LengthGroupedSampler(list(range(103)), batch_size=8, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(103))
    assert first != second


def test_the_order_depends_on_seed_and_epoch_alone():
    for make in (lambda: LengthGroupedSampler([5] * 40, 4, seed=1), lambda: RandomSampler(range(40), seed=1)):
        one, other = make(), make()
        torch.manual_seed(123)
        other.set_epoch(7)
        list(other)
        other.set_epoch(0)
        assert list(one) == list(other)


def test_the_order_of_many_rows_is_not_made_of_pythons_numbers_all_at_once():
    order = iter(LengthGroupedSampler((torch.arange(200_000) % 64).tolist(), batch_size=32, seed=0))
    tracemalloc.start()
    try:
        next(order)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000  # a list of 200,000 takes eight times that; the tensor is not counted


def test_rows_of_a_batch_have_similar_lengths():
    lengths = torch.randint(4, 100, (1600,)).tolist()
    order = list(LengthGroupedSampler(lengths, batch_size=32, seed=0))
    spread = [max(b) - min(b) for b in (
        [lengths[i] for i in order[start : start + 32]] for start in range(0, 1600, 32)
    )]  # fmt: skip
    assert sum(spread) / len(spread) < 5


@pytest.mark.parametrize(("multiple", "padded"), [(8, 16), (2, 10), (1, 9)])
def test_a_batch_is_padded_to_the_next_multiple_and_masked_there(multiple, padded, monkeypatch):
    monkeypatch.setattr(batches, "MULTIPLE", multiple)
    batch = collate([{"input_ids": [5] * 9, "label": 1}, {"input_ids": [6] * 3, "label": 0}], pad_id=7)
    assert batch["input_ids"].shape == (2, padded)
    assert batch["attention_mask"].sum(1).tolist() == [9, 3]
    assert batch["input_ids"][1].tolist() == [6] * 3 + [7] * (padded - 3)
    assert batch["labels"].tolist() == [1, 0]


def test_columns_of_numbers_are_stacked_and_lengths_left_out():
    batch = collate([{"input_ids": [1], "length": 1, "teacher_logits": [0.5, 1.5]}], pad_id=0)
    assert batch["teacher_logits"].shape == (1, 2)
    assert "length" not in batch
