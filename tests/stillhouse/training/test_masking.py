import pytest
import torch
import torch.nn.functional as F

from stillhouse.training.batches import collate
from stillhouse.training.masking import logits_at, mask_tokens, maskable, masked_lm_loss
from tests.tiny_mlm import masked_lm, sentences, tokenizer


def batch(count: int = 6) -> dict[str, torch.Tensor]:
    coder = tokenizer()
    return collate([{"input_ids": coder(text)["input_ids"]} for text in sentences(count)], coder.pad_token_id)


def test_of_the_chosen_tokens_80_percent_become_the_mask_10_random_10_stay() -> None:
    ids = torch.randint(100, 1000, (1000, 200), generator=torch.Generator().manual_seed(0))
    altered, chosen = mask_tokens(
        ids,
        torch.ones_like(ids, dtype=torch.bool),
        probability=0.15,
        mask_id=4,
        vocabulary=1_000_000,  # so large that a random token is hardly ever the one that stood there
        generator=torch.Generator().manual_seed(1),
    )
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.003)
    masked, kept = (altered == 4)[chosen].float().mean().item(), (altered == ids)[chosen].float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1, abs=0.01)
    assert 1 - masked - kept == pytest.approx(0.1, abs=0.01)
    assert torch.equal(altered[~chosen], ids[~chosen])


def test_special_and_padding_tokens_are_never_masked() -> None:
    coder, inputs = tokenizer(), batch(40)
    ids = inputs["input_ids"]
    allowed = maskable(ids, inputs["attention_mask"], coder.all_special_ids)
    _, chosen = mask_tokens(ids, allowed, probability=1.0, mask_id=coder.mask_token_id, vocabulary=len(coder))
    special = torch.isin(ids, torch.tensor(coder.all_special_ids))
    assert (special & inputs["attention_mask"].bool()).any()
    assert not chosen[special | (inputs["attention_mask"] == 0)].any()
    assert chosen[~special].all()


def test_masks_are_drawn_anew_for_every_batch_and_repeat_with_the_generator() -> None:
    ids = torch.arange(400).view(4, 100)

    def draw(generator: torch.Generator) -> torch.Tensor:
        allowed = torch.ones_like(ids, dtype=torch.bool)
        return mask_tokens(ids, allowed, probability=0.3, mask_id=0, vocabulary=400, generator=generator)[0]

    one, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    first, second = draw(one), draw(one)
    assert not torch.equal(first, second)
    assert torch.equal(first, draw(other))


def test_logits_at_some_positions_equal_those_of_the_full_computation() -> None:
    model, inputs = masked_lm(), batch()
    positions = torch.rand(inputs["input_ids"].shape, generator=torch.Generator().manual_seed(2)) < 0.3
    with torch.no_grad():
        some, full = logits_at(model, inputs, positions), model(**inputs).logits
    assert some.shape == (positions.sum(), model.config.vocab_size)
    torch.testing.assert_close(some, full[positions])


def test_the_masked_lm_loss_and_its_gradients_equal_those_of_the_full_computation() -> None:
    model, inputs, coder = masked_lm(), batch(), tokenizer()
    ids = inputs["input_ids"]
    allowed = maskable(ids, inputs["attention_mask"], coder.all_special_ids)
    altered, chosen = mask_tokens(ids, allowed, probability=0.3, mask_id=coder.mask_token_id, vocabulary=len(coder))
    inputs = inputs | {"input_ids": altered}
    ours = masked_lm_loss(model, inputs, ids, chosen)
    ours.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    full = F.cross_entropy(model(**inputs).logits.flatten(0, 1), ids.masked_fill(~chosen, -100).flatten())
    full.backward()
    torch.testing.assert_close(ours, full)
    for name, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(gradients[name], p.grad, msg=name)


def test_a_batch_in_which_nothing_was_chosen_has_loss_zero() -> None:
    inputs = batch()
    ids = inputs["input_ids"]
    loss = masked_lm_loss(masked_lm(), inputs, ids, torch.zeros_like(ids, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0


def test_the_model_is_whole_again_after_logits_at() -> None:
    model, inputs = masked_lm(), batch()
    with torch.no_grad():
        before = model(**inputs).logits
        logits_at(model, inputs, inputs["input_ids"] == tokenizer().cls_token_id)
        torch.testing.assert_close(model(**inputs).logits, before)
