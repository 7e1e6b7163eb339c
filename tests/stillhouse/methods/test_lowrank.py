"""Low rank: what the product discards, what Fisher information weighs, and how ranks are chosen."""

import itertools
from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F

from stillhouse.encoders.measure import parameters
from stillhouse.errors import InputError
from stillhouse.methods import lowrank as method
from stillhouse.surgery import factorize, factorize_embedding
from stillhouse.surgery.factorizing import svd
from stillhouse.training.batches import collate, model_inputs
from tests import tiny

NAME = "0.intermediate.dense"


def matrix(rows: int = 12, columns: int = 9) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def with_spectrum(*values: float) -> torch.Tensor:
    left = torch.linalg.qr(matrix(8, len(values)).double())[0]
    right = torch.linalg.qr(matrix(10, len(values)).double())[0]
    return left * torch.tensor(values).double() @ right.T


def rows(count: int = 6, regression: bool = False) -> list[dict]:
    texts, labels = tiny.sentences(count)
    ids = tiny.tokenizer()(texts)["input_ids"]
    return [{"input_ids": row, "label": float(y) if regression else y} for row, y in zip(ids, labels, strict=True)]


def batches(count: int = 6, regression: bool = False) -> list[dict]:
    return [collate([row], 0) for row in rows(count, regression)]


def logits(model, words: str = "the film is good") -> torch.Tensor:
    inputs = model_inputs(collate([{"input_ids": tiny.tokenizer()(words)["input_ids"]}], 0))
    with torch.no_grad():
        return model(**inputs).logits


def full_ranks(model) -> dict[str, int]:
    return {name: min(w.shape) for name, w in method.factorizable(model, layers=True, embedding=False).items()}


# ---------------------------------------------------------------- the product


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("model", [tiny.bert(), tiny.other_family("roberta")], ids=["bert", "roberta"])
def test_at_full_rank_the_logits_are_the_teachers(model, weighted):
    names = full_ranks(model)
    importance = method.fisher_information(model, batches(), names, 0.01) if weighted else None
    whole = factorize(model, names, importance and {name: values.sqrt() for name, values in importance.items()})
    assert torch.allclose(logits(whole), logits(model), atol=1e-5)


def test_what_a_product_misses_is_the_energy_it_discards():
    w = matrix()
    spectrum = method.energies(w)
    assert spectrum.sum() == pytest.approx(float(w.double().square().sum()))
    for rank in range(1, 10):
        a, b = svd(w, rank)
        missed = float((w - a @ b).double().square().sum())
        assert missed == pytest.approx(float(spectrum[rank:].sum()), rel=1e-4, abs=1e-8)


def test_the_weighted_error_is_the_weighted_energy_discarded_and_below_that_of_plain_svd():
    w, information = matrix(), torch.linspace(0.01, 4, 12)
    spectrum = method.energies(w, information)

    def missed(product: torch.Tensor) -> float:
        return float((information[:, None] * (w - product).square()).sum())

    for rank in range(1, 9):
        weighted, plain = svd(w, rank, information.sqrt()), svd(w, rank)
        assert missed(weighted[0] @ weighted[1]) == pytest.approx(float(spectrum[rank:].sum()), rel=1e-4)
        assert missed(weighted[0] @ weighted[1]) < missed(plain[0] @ plain[1])
        # and plain is the better one in its own measure
        errors = [float((w - a @ b).square().sum()) for a, b in (weighted, plain)]
        assert errors[1] < errors[0]


def test_equal_information_is_plain_svd():
    w = matrix()
    ones, plain = svd(w, 4, torch.full((12,), 3.0)), svd(w, 4)
    assert torch.allclose(ones[0] @ ones[1], plain[0] @ plain[1], atol=1e-5)


def test_the_logits_move_away_from_the_teachers_as_the_rank_falls():
    model, ids = tiny.bert(seed=3), torch.randint(5, 30, (32, 12), generator=torch.Generator().manual_seed(0))

    def distance(rank: int) -> float:
        names = {name: min(rank, full) for name, full in full_ranks(model).items()}
        with torch.no_grad():
            return float((factorize(model, names)(ids).logits - model(ids).logits).square().mean())

    assert distance(32) < distance(24) < distance(12) < distance(2)


# ---------------------------------------------------------------- Fisher information


@pytest.mark.parametrize("regression", [False, True], ids=["classes", "scores"])
def test_fisher_information_is_the_mean_of_squared_gradients_of_single_rows(regression):
    model = tiny.bert(labels=() if regression else ("bad", "good"))
    names = [NAME, "1.attention.self.value", method.EMBEDDING]
    found = method.fisher_information(model, batches(regression=regression), names, 1e-12)
    weights = {
        NAME: model.bert.encoder.layer[0].intermediate.dense.weight,
        "1.attention.self.value": model.bert.encoder.layer[1].attention.self.value.weight,
        method.EMBEDDING: model.bert.embeddings.word_embeddings.weight,
    }
    expected = {name: torch.zeros(len(weight)) for name, weight in weights.items()}
    for row in rows(regression=regression):
        model.zero_grad()
        out = model(torch.tensor([row["input_ids"]])).logits
        y = torch.tensor([row["label"]])
        (F.mse_loss(out[:, 0], y) if regression else F.cross_entropy(out, y)).backward()
        for name, weight in weights.items():
            expected[name] += weight.grad.square().sum(1) / 6
    for name in names:
        assert torch.allclose(found[name], expected[name], rtol=1e-3, atol=1e-9), name


def test_gradients_of_the_words_that_a_row_has_alone_give_the_same_to_the_bit(monkeypatch):
    model = tiny.bert()
    found = method.fisher_information(model, batches(), [method.EMBEDDING], 0.01)[method.EMBEDDING]
    assert not model.bert.embeddings.word_embeddings.sparse
    monkeypatch.setattr(method, "_sparse_words", lambda model: nullcontext())
    dense = method.fisher_information(model, batches(), [method.EMBEDDING], 0.01)[method.EMBEDDING]
    assert torch.equal(found, dense)


def test_a_word_that_no_row_has_gets_the_floor():
    model = tiny.bert()
    found = method.fisher_information(model, batches(2), [method.EMBEDDING], 0.05)[method.EMBEDDING]
    seen = {i for row in rows(2) for i in row["input_ids"]}
    unseen = [i for i in range(len(found)) if i not in seen]
    raw = method.fisher_information(model, batches(2), [method.EMBEDDING], 1e-12)[method.EMBEDDING]
    assert torch.allclose(found[unseen], 0.05 * raw.mean()) and (found > 0).all()


def test_fisher_information_leaves_the_model_as_it_was():
    model = tiny.bert().train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    method.fisher_information(model, batches(), full_ranks(model), 0.01)
    assert model.training and all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_fisher_information_of_no_rows_is_refused():
    with pytest.raises(InputError, match="no rows"):
        method.fisher_information(tiny.bert(), [], [NAME], 0.01)


# ---------------------------------------------------------------- ranks


def test_the_rank_of_an_energy_is_exact_on_a_known_spectrum():
    spectrum = method.energies(with_spectrum(4.0, 2.0, 1.0, 1.0))  # squares 16, 4, 1, 1 of 22
    assert spectrum[:4].tolist() == pytest.approx([16, 4, 1, 1])
    cases = {16 / 22: 1, 16.01 / 22: 2, 20 / 22: 2, 20.01 / 22: 3, 21 / 22: 3, 1.0: 4}
    for share, rank in cases.items():
        assert method.rank_of_energy(torch.tensor([16.0, 4, 1, 1]).double(), share) == rank, share
    for share in (0.0, 1.1):
        with pytest.raises(InputError, match=f"energy = {share}"):
            method.rank_of_energy(spectrum, share)


def test_a_matrix_that_its_energys_rank_makes_larger_stays_whole():
    spectra = {"steep": torch.tensor([9.0, 0.5, 0.5, 0]), "flat": torch.ones(4)}
    sizes = {"steep": (4, 4), "flat": (4, 4)}
    assert method.ranks_of_energy(spectra, sizes, 0.9) == {"steep": 1}
    with pytest.raises(InputError, match=r"energy = 1.0: no matrix"):
        method.ranks_of_energy({"flat": spectra["flat"]}, {"flat": (4, 4)}, 1.0)


def test_a_budget_is_kept_and_what_is_left_buys_no_other_component():
    model = tiny.bert(seed=5)
    matrices = method.factorizable(model, layers=True, embedding=True)
    sizes = {name: tuple(w.shape) for name, w in matrices.items()}
    spectra = {name: method.energies(w) for name, w in matrices.items()}
    whole = method.weights({}, sizes)
    for share in (0.2, 0.35, 0.5, 0.8, 0.97):
        budget = int(share * whole)
        ranks = method.ranks_of_budget(spectra, sizes, budget)
        left = budget - method.weights(ranks, sizes)
        assert left >= 0
        for name, rank in ranks.items():
            m, n = sizes[name]
            price = m + n if method.saves(m, n, rank + 1) else m * n - rank * (m + n)
            assert price > left, (share, name)


def test_a_budget_buys_the_least_error_where_components_cost_the_same():
    sizes = dict.fromkeys("abc", (9, 9))
    draw = torch.Generator().manual_seed(1)
    spectra = {name: torch.rand(9, generator=draw).double().sort(descending=True).values for name in sizes}
    found = method.ranks_of_budget(spectra, sizes, 6 * 18)  # too few for a whole matrix and two others

    def missed(ranks: dict[str, int]) -> float:
        return sum(float(spectra[name][rank:].sum()) for name, rank in ranks.items())

    options = [dict(zip("abc", ranks, strict=True)) for ranks in itertools.product(range(1, 5), repeat=3)]
    best = min((o for o in options if sum(o.values()) <= 6), key=missed)
    assert missed(found) == pytest.approx(missed(best))


def test_a_budget_close_to_all_leaves_matrices_whole():
    sizes, spectra = dict.fromkeys("ab", (4, 4)), {"a": torch.tensor([9.0, 8, 7, 6]), "b": torch.tensor([2.0, 1, 1, 1])}
    assert method.ranks_of_budget(spectra, sizes, 24) == {"b": 1}  # 16 + 8
    assert method.ranks_of_budget(spectra, sizes, 23) == {"a": 1, "b": 1}


@pytest.mark.parametrize("budget", [15, 32])
def test_a_budget_that_no_ranks_meet_is_refused(budget):
    with pytest.raises(InputError, match=r"32, and 16 at rank 1"):
        method.ranks_of_budget(dict.fromkeys("ab", torch.ones(4)), dict.fromkeys("ab", (4, 4)), budget)


@pytest.mark.parametrize(("size", "most"), [((10, 10), 4), ((32, 64), 21), ((33, 17), 11)])
def test_a_rank_that_saves_nothing_is_refused_and_the_largest_that_does_is_named(size, most):
    method.check_ranks({"x": most}, {"x": size})
    assert most * sum(size) < size[0] * size[1] <= (most + 1) * sum(size)
    with pytest.raises(InputError, match=rf"rank = {most + 1} of 'x' .* saves nothing: {most} is the most"):
        method.check_ranks({"x": most + 1}, {"x": size})


def test_the_weights_that_ranks_promise_are_those_of_the_model():
    model = tiny.bert()
    matrices = method.factorizable(model, layers=True, embedding=True)
    sizes = {name: tuple(w.shape) for name, w in matrices.items()}
    ranks = {name: 3 + i % 4 for i, name in enumerate(sizes)}
    cut = factorize(model, {name: rank for name, rank in ranks.items() if name != method.EMBEDDING})
    cut = factorize_embedding(cut, ranks[method.EMBEDDING])
    saved = method.weights({}, sizes) - method.weights(ranks, sizes)
    assert parameters(cut) == parameters(model) - saved
