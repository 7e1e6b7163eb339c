"""A compressed model of every kind, cut from one of three layers, 32 wide, with 4 heads and 64 FFN units a layer."""

from collections.abc import Callable

from transformers import PreTrainedModel

from stillhouse.surgery import (
    drop_layers,
    factorize,
    factorize_embedding,
    share_layers,
    slice_embedding,
    slice_ffn,
    slice_heads,
)

HEADS = [[0, 2], [1], [0, 1, 3]]
UNITS = [list(range(10)), list(range(5, 64)), [3, 7]]
DIMENSIONS = [*range(3, 20), *range(22, 31)]

SURGERY: dict[str, Callable[[PreTrainedModel], PreTrainedModel]] = {
    "heads": lambda model: slice_heads(model, HEADS),
    "units": lambda model: slice_ffn(model, UNITS),
    "dimensions": lambda model: slice_embedding(model, DIMENSIONS),
    "matrices": lambda model: factorize(model, {"0.attention.self.query": 4, "2.output.dense": 7}),
    "word vectors": lambda model: factorize_embedding(model, 8),
    "sharing all": lambda model: share_layers(model, [0, 0, 0], [0, 0, 0]),
    "sharing attention": lambda model: share_layers(model, [0, 0, 0], [0, 1, 2]),
    "all of it": lambda model: factorize_embedding(
        factorize(
            slice_embedding(slice_ffn(slice_heads(drop_layers(model, [0, 2]), HEADS[:2]), UNITS[:2]), DIMENSIONS),
            {"1.attention.output.dense": 5, "0.intermediate.dense": 6},
        ),
        8,
    ),
}
