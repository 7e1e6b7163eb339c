import pytest
import torch
from transformers import BertForMaskedLM

from stillhouse.training.batches import collator
from stillhouse.training.loop import fit
from stillhouse.training.outcomes import classify
from stillhouse.training.seen_words import SeenWords, only_seen_words, words_of
from tests import tiny

SEEN = [0, 1, 2, 3, 5, 6, 7, 11]
ROWS = [{"input_ids": [2, a, b, 3], "label": int(a > 6)} for a in (5, 6, 7, 11) for b in (5, 6, 7, 11)]


def vectors(model) -> torch.Tensor:
    return model.get_input_embeddings().weight


def train(model, folder, **options):
    numbers = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "seed": 5, "precision": "fp32"} | options
    fit(model, classify, ROWS, collator(0), checkpoints=folder, **numbers)


def test_seen_words_and_all_else_train_as_they_do_in_the_whole_vocabulary(tmp_path):
    whole, part = tiny.bert(), tiny.bert()
    train(whole, tmp_path / "whole")
    train(part, tmp_path / "part", words=words_of({"input_ids": [row["input_ids"] for row in ROWS]}, [0, 1, 2, 3]))
    for (name, ours), theirs in zip(part.state_dict().items(), whole.state_dict().values(), strict=True):
        seen = SEEN if "word_embeddings" in name else slice(None)
        torch.testing.assert_close(ours[seen], theirs[seen], rtol=1e-4, atol=1e-6)


def test_other_words_keep_their_vectors_to_the_last_bit(tmp_path):
    model, before = tiny.bert(), vectors(tiny.bert())
    train(model, tmp_path, words=SEEN)
    others = [i for i in range(len(before)) if i not in SEEN]
    assert torch.equal(vectors(model)[others], before[others])
    assert not torch.equal(vectors(model)[5], before[5])


def test_a_checkpoint_holds_the_seen_words_and_resuming_ends_with_the_undisturbed_bits(tmp_path):
    undisturbed, resumed = tiny.bert(), tiny.bert()
    train(undisturbed, tmp_path / "a", words=SEEN)
    train(tiny.bert(), tmp_path / "b", words=SEEN, checkpoint_steps=2, max_steps=-1)
    folders = sorted((tmp_path / "b").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for folder in folders[1:]:
        (folder / "complete").unlink()
    train(resumed, tmp_path / "b", words=SEEN)
    assert all(
        torch.equal(a, b) for a, b in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_the_model_computes_the_same_inside_and_is_itself_again_after_an_error():
    model, ids = tiny.bert(), torch.tensor([[2, 5, 11, 3, 0]])
    before, embedding = model(ids).logits, model.get_input_embeddings()
    with pytest.raises(RuntimeError, match="by the way"), only_seen_words(model, SEEN):
        assert isinstance(model.get_input_embeddings(), SeenWords)
        assert len(vectors(model)) == len(SEEN)
        torch.testing.assert_close(model(ids).logits, before)
        raise RuntimeError("by the way")
    assert model.get_input_embeddings() is embedding
    assert torch.equal(model(ids).logits, before)


def test_a_word_that_was_not_announced_is_an_error():
    model = tiny.bert()
    with only_seen_words(model, SEEN), pytest.raises(IndexError):
        model(torch.tensor([[2, 9, 3]]))


def test_frozen_and_tied_vectors_stay_whole():
    frozen = tiny.bert()
    frozen.get_input_embeddings().requires_grad_(False)
    tied = BertForMaskedLM(tiny.bert().config)
    for model in (frozen, tied):
        embedding = model.get_input_embeddings()
        with only_seen_words(model, SEEN):
            assert model.get_input_embeddings() is embedding
