"""Low-rank matrices: plain SVD (Eckart and Young 1936) and Fisher-weighted SVD (Hsu et al. 2022, arXiv 2207.00112).

A matrix W (m, n) becomes A·B, A (m, r) and B (r, n), with r(m + n) weights for m·n: a saving for r < mn/(m + n) alone.
Plain SVD keeps what is largest, ‖W − AB‖² = Σ_{k>r} σ_k². What is largest need not matter to the task, so Hsu et al.
weigh each row of W by the Fisher information of its weights (their section 3),

    F_i = Σ_j 1/|D| Σ_{x∈D} (∂L(x)/∂W_ij)²        min ‖diag(√F)·(W − AB)‖²

which is the SVD of diag(√F)·W, with √F divided out of A again; σ_k are then those of the weighted matrix. The word
vectors become V×r and r×d in the same way, a row a word: the shape of ALBERT's. The cutting is `stillhouse.surgery`'s.

Ranks follow from one of three rules: a number; the energy, the smallest r with Σ_{k≤r} σ_k² ≥ share·Σσ_k²; or a budget
of weights over all matrices, spent where a weight buys most: the next component of a matrix costs m + n weights and
buys σ_{r+1}², and the best bargain that still fits is taken until none does. Without Fisher that lowers the squared
error over all matrices together; with it, the loss to second order. Every matrix gets rank 1 first. Where the next
component would cost more than the matrix itself, the matrix is left whole for the difference.

Where we differ: a row that no gradient reached (a word that the rows lack) has F_i = 0, and its weights could become
anything; so F_i is raised to a small share of the matrix's mean. Biases and LayerNorms stay as they are.

m outputs, n inputs, r rank, V vocabulary, d width, D rows of the task.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.encoders.families import word_embeddings
from stillhouse.errors import InputError
from stillhouse.families.find import family_of
from stillhouse.surgery.factorizing import matrices, saves
from stillhouse.training.batches import Batch
from stillhouse.training.outcomes import classify

EMBEDDING = "word_embeddings"  # the name of the word vectors, next to those of `surgery.factorizing.matrices`

Size = tuple[int, int]  # (m, n)
Loss = Callable[[nn.Module, Batch], Tensor]


def factorizable(model: PreTrainedModel, *, layers: bool, embedding: bool) -> dict[str, Tensor]:
    """The matrices (m, n) by name: those of the layers, and the word vectors (V, d)."""
    found = matrices(model) if layers else {}
    return {**found, EMBEDDING: word_embeddings(model).weight.detach()} if embedding else found


def fisher_information(
    model: PreTrainedModel, batches: Iterable[Batch], names: Iterable[str], floor: float, loss: Loss = classify
) -> dict[str, Tensor]:
    """F of the rows of some matrices, (m,) each: mean squared gradients of the task's loss, summed over each row.

    Args:
        model: a fine-tuned one; its mode and gradients are as they were afterwards.
        batches: one row of the task each, with its label: the square of a mean of gradients is not what is wanted.
        names: of the matrices, from `factorizable`.
        floor: share of a matrix's mean F that its rows have at least, above 0.
        loss: the task's, of a batch.

    Raises:
        InputError: no rows, or no gradient reaches a matrix.
    """
    weights = _parameters(model, names)
    training = model.training
    model.eval()
    sums = {name: torch.zeros(len(weight), device=weight.device) for name, weight in weights.items()}
    count = 0
    with _sparse_words(model) if EMBEDDING in weights else nullcontext():
        for batch in batches:
            assert len(batch["input_ids"]) == 1
            value = loss(model, {name: tensor.to(model.device) for name, tensor in batch.items()})
            for name, gradient in zip(weights, torch.autograd.grad(value, list(weights.values())), strict=True):
                if gradient.is_sparse:
                    words, rows = _by_word(gradient)
                    sums[name].index_add_(0, words, rows.square().sum(1))
                else:
                    sums[name] += gradient.square().sum(1)
            count += 1
    model.train(training)
    if count == 0:
        raise InputError("Fisher information: no rows: raise fisher.rows")
    for name, total in sums.items():
        if total.sum() == 0:
            raise InputError(f"Fisher information of '{name}' is 0: the loss does not depend on it: use plain SVD")
        sums[name] = (total / count).clamp(min=floor * float(total.mean()) / count).cpu()
    return sums


def energies(matrix: Tensor, information: Tensor | None = None) -> Tensor:
    """The squared singular values of W, or of diag(√F)·W, largest first, (min(m, n),), in double precision."""
    weighted = matrix.double()
    if information is not None:
        weighted = information.to(matrix.device).double().sqrt()[:, None] * weighted
    return torch.linalg.svdvals(weighted).square()


def rank_of_energy(spectrum: Tensor, share: float) -> int:
    """The smallest rank that keeps this share of the squared singular values.

    Raises:
        InputError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"energy = {share} must be above 0 and at most 1")
    kept = spectrum.cumsum(0)
    # Rounding in the last bits must not ask for one rank more.
    return int((kept < share * kept[-1] * (1 - 1e-12)).sum()) + 1


def ranks_of_energy(spectra: Mapping[str, Tensor], sizes: Mapping[str, Size], share: float) -> dict[str, int]:
    """Ranks by energy of those matrices that become smaller by them; the others stay whole, and are not named.

    Raises:
        InputError: all of them stay whole.
    """
    ranks = {name: rank_of_energy(spectrum, share) for name, spectrum in spectra.items()}
    smaller = {name: rank for name, rank in ranks.items() if saves(*sizes[name], rank)}
    if not smaller:
        raise InputError(f"energy = {share}: no matrix has fewer weights at the rank that keeps it: lower it")
    return smaller


def ranks_of_budget(spectra: Mapping[str, Tensor], sizes: Mapping[str, Size], budget: int) -> dict[str, int]:
    """Ranks under which the matrices have at most `budget` weights together; those not named stay whole.

    Args:
        spectra: squared singular values of each matrix.
        sizes: (m, n) of each.
        budget: weights, at least Σ(m + n), fewer than Σmn.

    Raises:
        InputError: a budget outside these limits.
    """
    lowest, whole = sum(m + n for m, n in sizes.values()), sum(m * n for m, n in sizes.values())
    if not lowest <= budget < whole:
        raise InputError(
            f"budget: {budget:,} weights for matrices that have {whole:,}, and {lowest:,} at rank 1: "
            "give a share between the two"
        )
    ranks = dict.fromkeys(sizes, 1)
    left = budget - lowest

    def bargain(name: str) -> tuple[float, str, int]:
        """The matrix's next component: what a weight of it buys, negative for the heap, and its price."""
        (m, n), rank = sizes[name], ranks[name]
        if saves(m, n, rank + 1):
            return -float(spectrum[name][rank]) / (m + n), name, m + n
        price = m * n - rank * (m + n)
        return -sum(spectrum[name][rank:]) / price, name, price

    spectrum = {name: values.tolist() for name, values in spectra.items()}
    queue = [bargain(name) for name in sizes if saves(*sizes[name], 1)]
    for name in sizes:
        if not saves(*sizes[name], 1):
            raise InputError(f"'{name}' {sizes[name]} does not get smaller even at rank 1: leave it out")
    heapq.heapify(queue)
    while queue:
        _, name, price = heapq.heappop(queue)
        if price > left:
            continue  # later components of this matrix cost no less
        left -= price
        if saves(*sizes[name], ranks[name] + 1):
            ranks[name] += 1
            heapq.heappush(queue, bargain(name))
        else:
            del ranks[name]
    return ranks


def check_ranks(ranks: Mapping[str, int], sizes: Mapping[str, Size]) -> None:
    """Whether every rank saves weights.

    Raises:
        InputError: one does not, r ≥ mn/(m + n).
    """
    for name, rank in ranks.items():
        m, n = sizes[name]
        if not saves(m, n, rank):
            most = (m * n - 1) // (m + n)
            raise InputError(f"rank = {rank} of '{name}' ({m}×{n}) saves nothing: {most} is the most that does")


def weights(ranks: Mapping[str, int], sizes: Mapping[str, Size]) -> int:
    """Weights of all matrices, those without a rank whole."""
    return sum(ranks[name] * (m + n) if name in ranks else m * n for name, (m, n) in sizes.items())


@contextmanager
def _sparse_words(model: PreTrainedModel) -> Iterator[None]:
    """Gradients of the words that a row has alone: those of all V would be most of the work, and are 0."""
    table = word_embeddings(model)
    before = table.sparse
    table.sparse = True
    try:
        yield
    finally:
        table.sparse = before


def _by_word(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The words of a sparse gradient (k,), and what each has of it (k, d), added up in the order of a dense one."""
    words, places = gradient._indices()[0].unique(return_inverse=True)
    values = gradient._values()
    return words, values.new_zeros(len(words), values.shape[1]).index_add_(0, places, values)


def _parameters(model: PreTrainedModel, names: Iterable[str]) -> dict[str, Tensor]:
    """The parameters behind the names."""
    own, stack = dict(model.named_parameters()), family_of(model).stack
    found = {}
    for name in names:
        end = f".{stack}.{name}.weight"
        key = next((key for key in own if f".{key}".endswith(end)), None)
        found[name] = word_embeddings(model).weight if name == EMBEDDING else own[str(key)]
    return found
