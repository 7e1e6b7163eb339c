"""Write matrices as products of two thinner ones: W ≈ A·B, A (m, r), B (r, n), r(m + n) weights for m·n.

The best such product in the least-squares sense is the truncated SVD (Eckart and Young 1936): W = UΣVᵀ, A = U_r√Σ,
B = √ΣV_rᵀ. With an importance a row, it is the best of the weighted squares: the SVD of diag(w)·W, the weights divided
out of A (Fisher-weighted SVD, Hsu et al. 2022, arXiv 2207.00112, section 3). Exact at full rank.

m outputs, n inputs, r rank, V vocabulary, d width.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.families.contract import Family
from stillhouse.families.find import family_of
from stillhouse.surgery.rebuild import rebuild, shape_of


def factorize(
    model: PreTrainedModel, ranks: Mapping[str, int], importance: Mapping[str, Tensor] | None = None
) -> PreTrainedModel:
    """Factorize matrices of the layers.

    Args:
        model: left as it is.
        ranks: rank of each matrix that is factorized, by names such as "0.attention.self.query" (layers from 0).
        importance: by the same names, a positive weight (m,) of each row; None for plain SVD.

    Raises:
        InputError: a name that is no matrix with weights of its own, or a rank outside 1 … min(m, n).
    """
    shape, family = shape_of(model), family_of(model)
    family.allow(model, "matrices")
    state = dict(model.state_dict())
    prefix = _layers_prefix(state, family)
    for name, rank in ranks.items():
        key = f"{prefix}{name}"
        if f"{key}.weight" not in state or name.partition(".")[2] not in family.matrices:
            such = family.attention[0].name
            raise InputError(f"'{name}' is no matrix of its own here: name one such as '0.{such}'")
        matrix = state.pop(f"{key}.weight")
        left, right = svd(matrix, rank, None if importance is None else importance[name], name)
        state[f"{key}.down.weight"], state[f"{key}.up.weight"] = right, left
        if f"{key}.bias" in state:
            state[f"{key}.up.bias"] = state.pop(f"{key}.bias")
    return rebuild(model, replace(shape, ranks={**shape.ranks, **ranks}), state)


def factorize_embedding(model: PreTrainedModel, rank: int, importance: Tensor | None = None) -> PreTrainedModel:
    """Factorize the word vectors: V×r and r×d (the shape of ALBERT's, Lan et al. 2020, section 3.1).

    Args:
        model: left as it is. A masked-LM decoder that is tied to the word vectors stays tied to both factors.
        rank: r, below d.
        importance: a positive weight (V,) of each word; None for plain SVD.

    Raises:
        InputError: a rank outside 1 … d − 1, or word vectors that are factorized already.
    """
    shape, family = shape_of(model), family_of(model)
    family.allow(model, "words")
    if shape.embedding_size != shape.hidden_size:
        raise InputError(f"the word vectors are factorized already, to {shape.embedding_size}: take a model before it")
    if not 1 <= rank < shape.hidden_size:
        raise InputError(f"embedding rank = {rank} must be from 1 to {shape.hidden_size - 1}: the width is no saving")
    state = dict(model.state_dict())
    name = next(key for key in state if key.endswith(f"{family.words}.weight"))
    base = name.removesuffix("weight")
    left, right = svd(state.pop(name), rank, importance, "word_embeddings")
    state[f"{base}table.weight"], state[f"{base}project.weight"] = left, right.T.contiguous()
    state.pop(f"{family.decoder}.weight", None)  # tied: read from the table
    return rebuild(model, replace(shape, embedding_size=rank), state)


def svd(matrix: Tensor, rank: int, importance: Tensor | None = None, name: str = "matrix") -> tuple[Tensor, Tensor]:
    """A (m, r) and B (r, n) with A·B ≈ W, the best of rank r.

    Args:
        matrix: W (m, n).
        rank: r.
        importance: positive weights (m,) of the rows; None for equal ones.
        name: of the matrix, for errors.

    Raises:
        InputError: a rank outside 1 … min(m, n).
    """
    if not 1 <= rank <= min(matrix.shape):
        raise InputError(f"rank = {rank} of '{name}' {tuple(matrix.shape)} must be from 1 to {min(matrix.shape)}")
    weights = torch.ones(matrix.shape[0]) if importance is None else importance
    rows = weights.to(matrix.device).double()[:, None]
    u, s, vt = torch.linalg.svd(rows * matrix.double(), full_matrices=False)
    root = s[:rank].sqrt()
    left = u[:, :rank] * root / rows
    return left.to(matrix.dtype).contiguous(), (root[:, None] * vt[:rank]).to(matrix.dtype).contiguous()


def saves(outputs: int, inputs: int, rank: int) -> bool:
    """Whether rank r has fewer weights than the matrix: r < mn/(m + n)."""
    return rank * (outputs + inputs) < outputs * inputs


def matrices(model: PreTrainedModel) -> dict[str, Tensor]:
    """The layers' matrices (m, n) that can be factorized, by the names that `factorize` takes."""
    state = model.state_dict()
    family = family_of(model)
    family.allow(model, "matrices")
    prefix = _layers_prefix(state, family)
    layers = range(shape_of(model).layers)
    names = (f"{layer}.{name}" for layer in layers for name in family.matrices)
    return {name: state[f"{prefix}{name}.weight"] for name in names if f"{prefix}{name}.weight" in state}


def _layers_prefix(state: Mapping[str, Tensor], family: Family) -> str:
    found = (family.in_layer.match(key) for key in state)
    return next(match[1] for match in found if match)
