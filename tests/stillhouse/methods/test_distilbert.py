import copy
import re

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    ElectraConfig,
    ElectraForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

from stillhouse.encoders.mlm_head import vocabulary_logits
from stillhouse.encoders.student import build_student, give_head
from stillhouse.errors import InputError
from stillhouse.methods import distilbert
from stillhouse.methods.distilbert import GeneralDistillation, cosine_loss, distillation_sum, general_step
from stillhouse.training.batches import collate, model_inputs
from tests import tiny, tiny_mlm

WEIGHTS = {"kl": 5.0, "mlm": 2.0, "cosine": 1.0}
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def batch():
    return collate([{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}], pad_id=0)


def masked():
    """Inputs with two masked tokens, the ids before masking, and which were chosen."""
    inputs = model_inputs(batch())
    ids, chosen = inputs["input_ids"], torch.zeros(2, 6, dtype=torch.bool)
    chosen[0, 1] = chosen[1, 3] = True
    return inputs | {"input_ids": ids.masked_fill(chosen, 4)}, ids, chosen


def model(weights=WEIGHTS, seed=1, **changes):
    teacher = tiny_mlm.masked_lm()
    student = build_student(teacher, layers=1, source_layers=None, seed=seed, **changes)
    return GeneralDistillation(student, teacher, weights, temperature=2.0), student, copy.deepcopy(teacher)


def test_the_three_terms_are_those_of_the_formula():
    wrapped, student, teacher = model()
    inputs, ids, chosen = masked()
    terms = wrapped(inputs, ids, chosen)
    ours, theirs = student(**inputs, output_hidden_states=True), teacher(**inputs, output_hidden_states=True)
    kl, cos, mlm = [], [], []
    for row, length in ((0, 4), (1, 6)):
        for place in range(length):
            p_t = (theirs.logits[row, place] / 2).softmax(-1)
            p_s = (ours.logits[row, place] / 2).softmax(-1)
            kl.append((p_t * (p_t / p_s).log()).sum())
            h_s, h_t = ours.hidden_states[-1][row, place], theirs.hidden_states[-1][row, place]
            cos.append(1 - h_s @ h_t / (h_s.norm() * h_t.norm()))
            if chosen[row, place]:
                mlm.append(-ours.logits[row, place].softmax(-1)[ids[row, place]].log())
    assert terms["kl"].item() == pytest.approx(5 * 4 * torch.stack(kl).mean().item(), rel=1e-4)
    assert terms["mlm"].item() == pytest.approx(2 * torch.stack(mlm).mean().item(), rel=1e-4)
    assert terms["cosine"].item() == pytest.approx(torch.stack(cos).mean().item(), rel=1e-4)


def test_a_student_that_is_the_teacher_has_neither_kl_nor_cosine():
    teacher = tiny_mlm.masked_lm()
    student = build_student(teacher, layers=2, source_layers=[1, 2], seed=0)
    terms = GeneralDistillation(student, teacher, WEIGHTS, temperature=2.0)(*masked())
    assert terms["kl"].item() == pytest.approx(0, abs=1e-5)
    assert terms["cosine"].item() == pytest.approx(0, abs=1e-5)
    assert terms["mlm"].item() > 0


def test_the_terms_do_not_depend_on_how_far_a_batch_is_padded():
    wrapped, *_ = model()
    inputs, ids, chosen = masked()
    long = [{name: F.pad(tensor, (0, 6)) for name, tensor in inputs.items()}, F.pad(ids, (0, 6)), F.pad(chosen, (0, 6))]
    wider = wrapped(*long)
    for name, term in wrapped(inputs, ids, chosen).items():
        assert torch.allclose(term, wider[name], rtol=1e-4), name


def test_tokens_in_pieces_give_the_same_terms_and_gradients(monkeypatch):
    wrapped, student, _ = model()
    results = []
    for piece in (2048, 3):
        monkeypatch.setattr(distilbert, "PIECE", piece)
        student.zero_grad()
        terms = wrapped(*masked())
        sum(terms.values()).backward()
        results.append((terms, [p.grad.clone() for p in student.parameters() if p.grad is not None]))
    (whole, gradients), (pieces, others) = results
    for name in whole:
        assert torch.allclose(whole[name], pieces[name], rtol=1e-5)
    assert len(gradients) == len(others) > 10
    for one, other in zip(gradients, others, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kept", ["kl", "mlm", "cosine"])
def test_a_term_of_weight_zero_is_left_out_and_the_others_stay_as_they_were(kept):
    full = model()[0](*masked())
    alone = model({name: WEIGHTS[name] if name == kept else 0.0 for name in WEIGHTS})[0](*masked())
    assert set(alone) == {kept}
    assert torch.allclose(alone[kept], full[kept], rtol=1e-5)


def test_what_only_a_term_left_out_needs_is_not_computed(monkeypatch):
    wrapped, *_ = model({"kl": 0.0, "mlm": 1.0, "cosine": 0.0})
    monkeypatch.setattr(wrapped.teacher, "hidden", None)
    assert set(wrapped(*masked())) == {"mlm"}
    wrapped, *_ = model({"kl": 0.0, "mlm": 0.0, "cosine": 1.0})
    monkeypatch.setattr(distilbert, "vocabulary_logits", None)
    assert set(wrapped(*masked())) == {"cosine"}


def test_without_a_chosen_token_the_masked_term_is_zero_and_finite():
    inputs, ids, chosen = masked()
    for weights in (WEIGHTS, {"kl": 0.0, "mlm": 2.0, "cosine": 0.0}):
        assert model(weights)[0](inputs, ids, chosen & False)["mlm"].item() == 0


def test_t_squared_keeps_the_gradient_of_the_kl_as_t_grows():
    teacher = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    sizes = []
    for temperature in (100.0, 1000.0):
        student = torch.zeros(4, 6, requires_grad=True)
        distillation_sum(student, teacher, temperature).backward()
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_the_cosine_loss_is_zero_along_one_at_right_angles_two_against():
    along, right, against = torch.tensor([[2.0, 0]]), torch.tensor([[0, 3.0]]), torch.tensor([[-1.0, 0]])
    one = torch.tensor([[1.0, 0.0]])
    assert [round(cosine_loss(one, other).item(), 5) for other in (along, right, against)] == [0, 1, 2]


def test_the_student_alone_is_trained_and_saved():
    wrapped, student, _ = model()
    sum(wrapped(*masked()).values()).backward()
    assert all(name.startswith("student.") for name in wrapped.state_dict())
    assert student.bert.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in wrapped.teacher.model.parameters())


def test_masks_are_drawn_anew_for_every_batch_and_never_on_special_tokens():
    seen = []

    def spy(inputs, ids, chosen):
        assert not chosen[ids < 5].any()
        assert torch.equal(inputs["input_ids"][~chosen], ids[~chosen])
        seen.append(chosen)
        return {}

    step = general_step(mask=0.5, mask_id=4, special_ids=[0, 1, 2, 3, 4], vocabulary=30)
    torch.manual_seed(0)
    for _ in range(3):
        step(spy, batch())
    assert not torch.equal(seen[0], seen[1]) or not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize(
    "other",
    [
        lambda: RobertaForMaskedLM(RobertaConfig(vocab_size=50, pad_token_id=1, max_position_embeddings=40, **SHAPE)),
        lambda: ElectraForMaskedLM(ElectraConfig(vocab_size=50, embedding_size=16, **SHAPE)),
    ],
    ids=["roberta", "electra"],
)
def test_other_families_have_their_head_found_and_go_through_the_loss(other):
    torch.manual_seed(0)
    teacher = other().eval()
    inputs = {"input_ids": torch.tensor([[5, 7, 8, 9]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    whole = teacher(**inputs).logits[0]
    hidden = teacher.base_model(**inputs).last_hidden_state[0]
    assert torch.allclose(vocabulary_logits(teacher, hidden), whole, atol=1e-6)
    student = build_student(teacher, layers=1, source_layers=[2], seed=0)
    chosen = torch.tensor([[False, True, False, False]])
    terms = GeneralDistillation(student, teacher, WEIGHTS, 2.0)(inputs, inputs["input_ids"], chosen)
    assert all(term.isfinite() for term in terms.values()) and set(terms) == set(WEIGHTS)


def test_the_encoder_of_a_roberta_gets_a_head():
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=50, pad_token_id=1, max_position_embeddings=40, num_labels=3, **SHAPE)
    teacher = RobertaForSequenceClassification(config)
    base = build_student(RobertaForMaskedLM(config), layers=1, source_layers=[2], seed=0).base_model
    student = give_head(base, teacher, seed=0)
    assert torch.equal(student.classifier.out_proj.weight, teacher.classifier.out_proj.weight)
    assert torch.equal(student.roberta.embeddings.word_embeddings.weight, base.embeddings.word_embeddings.weight)


def test_a_narrower_student_needs_the_cosine_left_out():
    with pytest.raises(InputError, match=re.escape("student.hidden_size (16): the cosine needs the teacher's 32")):
        model(hidden_size=16, heads=2)
    terms = model({"kl": 5.0, "mlm": 2.0, "cosine": 0.0}, hidden_size=16, heads=2)[0](*masked())
    assert set(terms) == {"kl", "mlm"}


def test_a_model_without_a_masked_lm_head_is_refused():
    with pytest.raises(InputError, match="has no masked-LM head"):
        vocabulary_logits(tiny.bert(), torch.zeros(1, 32))
