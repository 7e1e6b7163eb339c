import re

import pytest
import torch

from stillhouse.encoders.measure import checkpoint_bytes
from stillhouse.encoders.student import build_student
from stillhouse.errors import InputError
from stillhouse.methods.subword import (
    DualTraining,
    SharedProjection,
    Special,
    TwoCuts,
    Weights,
    add_vocabulary,
    check_layers,
    dual_masked_lm_loss,
    dual_step,
    framed,
    matrices,
    mix,
    projection_loss,
)
from stillhouse.text.wordpiece import train_wordpiece
from stillhouse.training.batches import collate
from stillhouse.training.masking import masked_lm_loss
from tests import tiny_mlm

TEXTS = tiny_mlm.sentences(24)
THEIRS = tiny_mlm.tokenizer()
OURS = train_wordpiece(TEXTS, THEIRS, 80)
OFFSET = len(THEIRS)
SPECIAL = Special(THEIRS.cls_token_id, THEIRS.sep_token_id, THEIRS.pad_token_id, THEIRS.mask_token_id)


def batch(texts=TEXTS, max_length=40):
    rows = TwoCuts(THEIRS, OURS, max_length)(texts)
    return collate([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)], pad_id=0)


def teacher_input(coins):
    columns = batch()
    return framed(*mix(columns, coins, OFFSET), SPECIAL)


def coins(value):
    return torch.full((len(TEXTS), 40), value)


def pair(seed=0, layers=(1, 2), start=None, up=False, **shape):
    teacher = tiny_mlm.masked_lm(seed)
    shape = {"hidden_size": 16, "heads": 2, "intermediate_size": 24} | shape
    student = build_student(teacher, layers=len(layers), **shape, tokenizer=OURS, source_layers=None, seed=1)
    offset = add_vocabulary(teacher, len(OURS), start, seed=0)
    return DualTraining(student, teacher, offset=offset, layers=layers, up=up, weight=0.5, seed=0)


def rows_of(inputs):
    return [ids[mask.bool()].tolist() for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]


# ---------------------------------------------------------------------------------------------- two ways to cut


def test_without_dual_training_the_teacher_reads_its_own_pieces_exactly():
    assert rows_of(teacher_input(coins(False))) == THEIRS(TEXTS)["input_ids"]


def test_at_probability_one_the_teacher_reads_the_students_pieces_exactly():
    inner = [[i + OFFSET for i in ids] for ids in OURS(TEXTS, add_special_tokens=False)["input_ids"]]
    expected = [[SPECIAL.first, *ids, SPECIAL.last] for ids in inner]
    assert rows_of(teacher_input(coins(True))) == expected


def test_a_mixed_input_has_every_word_once_in_the_order_of_the_text():
    draw = torch.Generator().manual_seed(0)
    tossed = torch.rand(len(TEXTS), 40, generator=draw) < 0.5
    for text, row, tosses in zip(TEXTS, rows_of(teacher_input(tossed)), tossed.tolist(), strict=True):
        expected = []
        for word, ours in zip(text_words(text), tosses, strict=False):
            ids = (OURS if ours else THEIRS)(word, add_special_tokens=False)["input_ids"]
            expected += [i + OFFSET if ours else i for i in ids]
        assert row[1:-1] == expected


def text_words(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


def test_the_student_reads_its_own_pieces_alone():
    columns = batch()
    rows = [ids[m.bool()].tolist() for ids, m in zip(columns["input_ids"], columns["attention_mask"], strict=True)]
    assert rows == OURS(TEXTS)["input_ids"]


@pytest.mark.parametrize("value", [False, True])
def test_no_input_is_longer_than_the_limit_however_its_words_are_cut(value):
    short = batch(max_length=7)
    assert short["attention_mask"].sum(1).max() == 7
    inputs = framed(*mix(short, coins(value), OFFSET), SPECIAL)
    assert 2 < inputs["attention_mask"].sum(1).max() <= 7
    starts = [ids[:-1] for ids in rows_of(inputs)]
    whole = [ids[:-1] for ids in rows_of(teacher_input(coins(value)))]
    assert all(all_of[: len(start)] == start for start, all_of in zip(starts, whole, strict=True))


def test_texts_without_words_are_dropped():
    assert len(TwoCuts(THEIRS, OURS, 20)(["film", "  ", "plot"])["length"]) == 2


# ---------------------------------------------------------------------------------------------- the teacher of both


def test_new_embeddings_leave_the_teachers_predictions_as_they_were():
    plain, extended = tiny_mlm.masked_lm(), tiny_mlm.masked_lm()
    offset = add_vocabulary(extended, 5, None, seed=0)
    ids = torch.tensor([[2, 7, 8, 3]])
    assert offset == OFFSET
    assert torch.allclose(extended(input_ids=ids).logits[..., :offset], plain(input_ids=ids).logits, atol=1e-6)


def test_a_new_embedding_starts_as_the_mean_of_the_teachers_or_from_the_seed_alone():
    teacher = tiny_mlm.masked_lm()
    add_vocabulary(teacher, 2, [[7], [8, 9]], seed=0)
    table = teacher.get_input_embeddings().weight
    assert torch.equal(table[OFFSET], table[7])
    assert torch.allclose(table[OFFSET + 1], (table[8] + table[9]) / 2)
    tables = []
    for _ in range(2):
        again = tiny_mlm.masked_lm()
        torch.rand(3)
        add_vocabulary(again, 2, None, seed=4)
        tables.append(again.get_input_embeddings().weight[OFFSET:])
    assert torch.equal(*tables) and tables[0].abs().sum() > 0


def test_a_masked_piece_is_predicted_among_those_of_its_own_vocabulary():
    teacher = pair().teacher
    ids = torch.tensor([[2, 7, OFFSET + 9, 8, 3]])
    chosen = torch.tensor([[False, True, True, False, False]])
    inputs = {"input_ids": ids.masked_fill(chosen, 4), "attention_mask": torch.ones_like(ids)}
    logits = teacher(**inputs).logits[0]
    theirs = -logits[1, :OFFSET].log_softmax(-1)[7]
    ours = -logits[2, OFFSET:].log_softmax(-1)[9]
    loss = dual_masked_lm_loss(teacher, inputs, ids, chosen, OFFSET)
    assert torch.allclose(loss, (theirs + ours) / 2, rtol=1e-5)
    assert dual_masked_lm_loss(teacher, inputs, ids, chosen & False, OFFSET).item() == 0


# ---------------------------------------------------------------------------------------------- shared projections


def test_the_projection_loss_is_the_sum_of_squares_of_the_formula():
    model = pair(layers=(2,))
    student, teacher = model.student.bert, model.teacher.bert
    left, right = model.projection.left, model.projection.right
    ours, theirs = student.encoder.layer[0], teacher.encoder.layer[1]
    total = 0.0
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        w_t, w_s = theirs.get_submodule(name).weight, ours.get_submodule(name).weight
        total += ((left["width"] @ w_t @ right["width"] - w_s) ** 2).sum()
    w_t, w_s = theirs.intermediate.dense.weight, ours.intermediate.dense.weight
    total += ((left["inner"] @ w_t @ right["width"] - w_s) ** 2).sum()
    w_t, w_s = theirs.output.dense.weight, ours.output.dense.weight
    total += ((left["width"] @ w_t @ right["inner"] - w_s) ** 2).sum()
    tables = teacher.embeddings, student.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        e_t, e_s = (table.get_submodule(name).weight for table in tables)
        e_t = e_t[OFFSET:] if name == "word_embeddings" else e_t
        total += ((e_t @ right["width"] - e_s) ** 2).sum()
    loss = projection_loss(model.projection, matrices(model.teacher, [1], OFFSET), matrices(model.student, [0], 0))
    assert torch.allclose(loss, total, rtol=1e-5)


@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
def test_the_projection_loss_is_zero_where_one_model_is_the_others_projection(up):
    model = pair(layers=(1, 2), up=up)
    teacher, student = (matrices(model.teacher, [0, 1], OFFSET), matrices(model.student, [0, 1], 0))
    source = student if up else teacher
    image = {name: Weights(w.out, w.into, model.projection(w)) for name, w in source.items()}
    wanted = teacher if up else student
    assert {name: w.stack.shape for name, w in image.items()} == {name: w.stack.shape for name, w in wanted.items()}
    assert projection_loss(model.projection, source, image).item() == 0
    assert projection_loss(model.projection, source, wanted).item() > 0


def test_all_layers_share_v_and_u():
    assert {name: tuple(p.shape) for name, p in pair().projection.named_parameters()} == {
        "left.width": (16, 32),
        "left.inner": (24, 64),
        "right.width": (32, 16),
        "right.inner": (64, 24),
    }


def test_projections_start_orthonormal_and_as_the_identity_between_equal_widths():
    start = SharedProjection((32, 64), (16, 64), seed=0)
    assert torch.allclose(start.left["width"] @ start.right["width"], torch.eye(16), atol=1e-5)
    assert torch.equal(start.left["inner"], torch.eye(64))


# ---------------------------------------------------------------------------------------------- both together


def step(probability=0.5, offset=OFFSET):
    return dual_step(THEIRS, OURS, offset=offset, probability=probability, mask=0.3)


@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
def test_one_loss_trains_teacher_student_and_projections(up):
    model = pair(up=up)
    torch.manual_seed(0)
    terms = step()(model, batch())
    assert set(terms) == {"student", "teacher", "projection"}
    sum(terms.values()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    # Softmax does not feel a shift of all keys by one vector.
    assert all(name.endswith("key.bias") for name in without), without


def test_without_a_teacher_the_student_alone_is_computed():
    student = pair().student
    model = DualTraining(student, None, offset=0, layers=(1, 2), up=False, weight=0.5, seed=0)
    assert set(step(offset=None)(model, batch())) == {"student"}
    assert all(name.startswith("student.") for name in model.state_dict())


def test_what_is_masked_is_never_special_and_every_other_token_stays():
    seen = []

    def spy(student, teacher):
        for (inputs, ids, chosen), special in ((student, OURS.all_special_ids), (teacher, THEIRS.all_special_ids)):
            assert chosen.any() and not chosen[torch.isin(ids, torch.tensor(special))].any()
            assert not chosen[inputs["attention_mask"] == 0].any()
            assert torch.equal(inputs["input_ids"][~chosen], ids[~chosen])
        seen.append(teacher[1].shape)
        return {}

    torch.manual_seed(0)
    step()(spy, batch())
    assert len(seen) == 1


def test_the_cut_is_drawn_anew_for_every_batch_from_torchs_generator():
    seen = []
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for again in (False, False, True):
        if again:
            torch.set_rng_state(state)
        step()(lambda student, teacher: seen.append(teacher[1].flatten().tolist()) or {}, batch())
    assert seen[0] != seen[1] and seen[0] == seen[2]


def test_the_terms_do_not_depend_on_how_far_a_batch_is_padded():
    model = pair()
    ids = torch.tensor([[2, 7, OFFSET + 9, 8, 3]])
    chosen = torch.tensor([[False, True, True, False, False]])
    short = {"input_ids": ids.masked_fill(chosen, 4), "attention_mask": torch.ones_like(ids)}
    long = {name: torch.nn.functional.pad(tensor, (0, 5)) for name, tensor in short.items()}
    wide = torch.nn.functional.pad(ids, (0, 5)), torch.nn.functional.pad(chosen, (0, 5))
    one = dual_masked_lm_loss(model.teacher, short, ids, chosen, OFFSET)
    assert torch.allclose(one, dual_masked_lm_loss(model.teacher, long, *wide, OFFSET), rtol=1e-4)
    ours = ids.clamp(max=70)
    small = short | {"input_ids": ours}
    big = {name: torch.nn.functional.pad(tensor, (0, 5)) for name, tensor in small.items()}
    one = masked_lm_loss(model.student, small, ours, chosen)
    padded = torch.nn.functional.pad(ours, (0, 5)), wide[1]
    assert torch.allclose(one, masked_lm_loss(model.student, big, *padded), rtol=1e-4)


def test_layers_that_the_teacher_has_not_are_refused():
    check_layers([1, 2], 2)
    for layers in ([1, 3], [0], []):
        with pytest.raises(InputError, match=re.escape(f"layer_map {layers} must name some of the teacher's layers")):
            check_layers(layers, 2)


def test_a_bert_of_five_thousand_pieces_at_the_default_shape_is_under_seven_megabytes(tmp_path):
    from ruamel.yaml import YAML
    from transformers import BertConfig, BertForSequenceClassification

    from tests.tasks.project import ROOT

    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))["subword"]["general"]
    assert params["vocabulary"] == 5000 and params["layer_map"] is None
    shape = params["student"]
    config = BertConfig(
        vocab_size=params["vocabulary"],
        num_hidden_layers=6,  # the built-in teacher's
        hidden_size=shape["hidden_size"],
        num_attention_heads=shape["heads"],
        intermediate_size=shape["intermediate_size"],
        max_position_embeddings=512,
        num_labels=6,
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    assert checkpoint_bytes(tmp_path) < 7_000_000
