"""The loop's own work in a step on another device than the CPU, pretended (`tests/pretend.py`)."""

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from stillhouse.answers.outcomes import SPANS
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.tagging.outcomes import WORDS
from stillhouse.training.attention import quick_attention
from stillhouse.training.autocast import computed_in, full_precision
from stillhouse.training.batches import collate, model_inputs
from stillhouse.training.loop import _Trainer
from stillhouse.training.masking import hide_tokens, mask_tokens, maskable
from stillhouse.training.outcomes import ROWS, SeveralLabels
from stillhouse.training.seen_words import only_seen_words
from stillhouse.training.transfer import sent
from tests import tiny
from tests.pretend import DEVICE, There, here, moved, places, pretend

IDS = [[2, 7, 8, 3], [2, 9, 10, 11, 12, 3]]


class Both(SeveralLabels):
    width = 2


# A batch's columns by kind of task, and what is waited for: the device counts the words that bear a label.
KINDS = {
    "classes": (tiny.bert, ROWS, [{"label": 0}, {"label": 1}], {}),
    "several labels": (tiny.several_labels, Both(), [{"label": [1]}, {"label": [0, 1]}], {}),
    "answers": (tiny.answerer, SPANS, [{"start": 1, "end": 2}, {"start": 2, "end": 2}], {}),
    "words": (
        tiny.tagger,
        WORDS,
        [{"words": [-1, 0, 1, -1], "label": [0, 4]}, {"words": [-1, 0, 1, -1, 2, -1], "label": [1, 2, 3]}],
        {"mask": 3},  # of logits, of labels, and of the former's gradient
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_labels_loss_waits_for_nothing_but_the_number_of_words(kind):
    make, outcomes, columns, allowed = KINDS[kind]
    batch = collate([{"input_ids": ids, **row} for ids, row in zip(IDS, columns, strict=True)], pad_id=0)
    model = make()
    with quick_attention(model):
        wanted = outcomes.hard(model, batch).detach()
        with pretend() as waits:
            model.to(DEVICE)
            batch = moved(batch)
            waits.clear()
            loss = outcomes.hard(model, batch)
            loss.backward()
    torch.testing.assert_close(here(loss), wanted)
    assert dict(+waits) == allowed


def test_the_loop_notes_losses_and_the_first_bad_one_without_reading_them(tmp_path):
    rows = [{"input_ids": ids, "label": 0} for ids in IDS]
    model = nn.Linear(1, 1)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    values = iter([2.0, torch.inf, 3.0])

    def step(model, batch):
        weight = model.weight.sum()
        return {"one": 0 * weight + next(values), "two": 0 * weight}

    trainer = _Trainer(step, 1, model=model, args=arguments, train_dataset=rows, data_collator=lambda given: given)
    with pretend() as waits:
        model.to(DEVICE)
        waits.clear()
        for number in range(3):
            trainer.state.global_step = number
            trainer.compute_loss(model, {})
        assert dict(+waits) == {}
        assert isinstance(trainer.first_bad, There) and trainer.first_bad.item() == 2.0
        assert dict(+waits) == {"_local_scalar_dense": 1}  # so much for a test that could not fail


def test_word_vectors_that_were_set_aside_follow_the_model():
    model = tiny.bert()
    words, before = model.get_input_embeddings(), model.get_input_embeddings().weight.detach().clone()
    with pretend():
        with only_seen_words(model, {2, 3, 7}):
            model.to(DEVICE)
            with torch.no_grad():
                model.get_input_embeddings().weight.add_(1)
        assert model.get_input_embeddings() is words
        assert places(model) == {DEVICE}
        # Other vectors stay what they were.
        change = here(words.weight) - before
    assert set(change[:, 0].nonzero().flatten().tolist()) == {0, 2, 3, 7}
    assert torch.allclose(change[[0, 2, 3, 7]], torch.ones(4, 32))


def test_masks_are_the_cpus_and_take_one_copy_that_does_not_block():
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 9, 10, 3, 0]]).repeat(20, 1)
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    options = {"probability": 0.5, "mask_id": 4, "special_ids": [0, 1, 2, 3, 4], "vocabulary": 33}
    torch.manual_seed(0)
    wanted = hide_tokens(inputs, **options)
    with pretend() as waits:
        given = {name: tensor.to(DEVICE) for name, tensor in inputs.items()}
        waits.clear()
        torch.manual_seed(0)
        altered, _, chosen = hide_tokens(given, **options)
    assert dict(+waits) == {}
    assert torch.equal(here(altered["input_ids"]), wanted[0]["input_ids"])
    assert torch.equal(here(chosen), wanted[2])


def test_masks_follow_from_the_coins_as_bert_has_it():
    ids = torch.arange(5, 205).view(10, 20)
    allowed = maskable(ids, torch.ones_like(ids), [7, 8])
    altered, chosen = mask_tokens(
        ids, allowed, probability=0.4, mask_id=4, vocabulary=300, generator=torch.Generator().manual_seed(3)
    )
    coins = torch.Generator().manual_seed(3)
    draw, kind = torch.rand(2, 10, 20, generator=coins)
    random = torch.randint(300, (10, 20), generator=coins)
    assert torch.equal(chosen, (draw < 0.4) & (ids != 7) & (ids != 8))
    changed = torch.where(kind < 0.8, 4, torch.where(kind < 0.9, random, ids))
    assert torch.equal(altered, torch.where(chosen, changed, ids))


def test_a_teacher_looks_at_no_padding_once_it_is_on_another_device_and_says_the_same():
    batch = model_inputs(collate([{"input_ids": ids} for ids in IDS], pad_id=0))
    wanted = FrozenTeacher(tiny.bert(), 2, [])(batch)
    with pretend() as waits:
        teacher, there = FrozenTeacher(tiny.bert(), 2, []), moved(batch)
        given = teacher(there)
        waits.clear()
        teacher(there)
    assert dict(+waits) == {}
    torch.testing.assert_close(here(given.logits), wanted.logits)
    torch.testing.assert_close(here(given.hidden[-1]), wanted.hidden[-1])


def test_a_device_without_autocast_is_asked_for_none():
    assert computed_in("meta") is None and computed_in("cpu") is None
    with full_precision("meta"), torch.autocast("cpu", dtype=torch.bfloat16):
        assert computed_in("cpu") == torch.bfloat16
        with full_precision("cpu"):
            assert computed_in("cpu") is None


def test_what_is_sent_to_the_cpu_is_the_tensor_itself():
    coins = torch.rand(3)
    assert sent(coins, torch.device("cpu")) is coins


def test_a_pretended_device_refuses_what_a_gpu_refuses():
    """What the tests above lean on."""
    with pretend() as waits:
        there, on_cpu = torch.ones(3, device=DEVICE), torch.ones(3)
        with pytest.raises(RuntimeError, match="on the CPU"):
            there + on_cpu
        with pytest.raises(RuntimeError, match="on the CPU"):
            there.index_select(0, torch.tensor([1]))
        assert (there + torch.tensor(1.0)).device == DEVICE  # a number may be anywhere
        assert dict(+waits) == {}
        for wait in (
            lambda: there.sum().item(),
            lambda: bool((there > 0).all()),
            lambda: there[there > 0],
            lambda: there.cpu(),
            lambda: on_cpu.to(DEVICE),
            lambda: there.new_tensor([1.0]),
            lambda: torch.tensor([1.0], device=DEVICE),
        ):
            waits.clear()
            wait()
            assert waits.total() == 1
