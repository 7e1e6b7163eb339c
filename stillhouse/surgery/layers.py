"""Take whole layers out of an encoder, or let layers use each other's weights. Layers count from 0."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.families.contract import Family
from stillhouse.families.find import family_of
from stillhouse.surgery.rebuild import rebuild, shape_of


def drop_layers(model: PreTrainedModel, keep: Sequence[int]) -> PreTrainedModel:
    """Keep some layers, in their order.

    Args:
        model: left as it is.
        keep: layers that stay.

    Raises:
        InputError: none stays, a missing or repeated layer is named, their order changes, or one uses the weights of a
            layer that goes.
    """
    shape, family = shape_of(model), family_of(model)
    family.allow(model, "layers")
    check_layers(keep, shape.layers)
    place = {old: new for new, old in enumerate(keep)}
    for layer in keep:
        for source in (shape.attention_of[layer], shape.ffn_of[layer]):
            if source not in place:
                raise InputError(f"layer {layer} uses the weights of layer {source}: keep both, or neither")
    kept = replace(
        shape,
        heads=tuple(shape.heads[layer] for layer in keep),
        intermediate=tuple(shape.intermediate[layer] for layer in keep),
        attention_of=tuple(place[shape.attention_of[layer]] for layer in keep),
        ffn_of=tuple(place[shape.ffn_of[layer]] for layer in keep),
        ranks={
            f"{place[layer]}.{matrix}": rank
            for (layer, matrix), rank in ((_matrix(name), rank) for name, rank in shape.ranks.items())
            if layer in place
        },
        extra=family.kept_layers(shape.extra, keep),
    )
    state = {}
    for name, weight in model.state_dict().items():
        match = family.in_layer.match(name)
        if match is None:
            state[name] = weight
        elif int(match[2]) in place:
            state[f"{match[1]}{place[int(match[2])]}.{match[3]}"] = weight
    return rebuild(model, kept, state)


def share_layers(
    model: PreTrainedModel, attention: Sequence[int], ffn: Sequence[int], start: str = "first"
) -> PreTrainedModel:
    """Let layers use each other's attention or FFN (ALBERT, Lan et al. 2020, section 3.1), and the LayerNorms in it.

    Args:
        model: left as it is.
        attention, ffn: for each layer, the layer whose part it uses; its own number for its own. [0, 0, 0] shares all.
        start: first (the weights of the layer that is used) | average (of all layers that use it).

    Raises:
        InputError: a list that does not fit the layers, layers of different width, or matrices factorized already.
    """
    shape, family = shape_of(model), family_of(model)
    family.allow(model, "sharing")
    if shape.ranks:
        raise InputError("sharing: the model has factorized matrices: share first, then factorize")
    if start not in ("first", "average"):
        raise InputError(f"start = '{start}' is not one of first, average")
    shared = replace(shape, attention_of=tuple(attention), ffn_of=tuple(ffn))
    shared.check(shape.layers)
    for name, old, new in (("attention", shape.attention_of, attention), ("ffn", shape.ffn_of, ffn)):
        for layer, source in enumerate(old):
            if source != layer and new[layer] != new[source]:
                raise InputError(f"{name} {list(new)}: layers {source} and {layer} share it already")
    used = {"attention": shared.attention_of, "ffn": shared.ffn_of}
    given = model.state_dict()
    state = {}
    for name, weight in given.items():
        match = family.in_layer.match(name)
        part = family.part_of(match[3]) if match else None
        if match is None or part is None:
            state[name] = weight
            continue
        layer = int(match[2])
        if used[part][layer] == layer:
            state[name] = weight if start == "first" else _average(given, name, used[part], family)
    return rebuild(model, shared, state)


def check_layers(keep: Sequence[int], count: int) -> None:
    """Whether this names layers of a model of `count`.

    Raises:
        InputError: an empty list, or a missing, repeated or displaced layer.
    """
    if not keep:
        raise InputError("layers: none is kept: leave at least one")
    missing = [layer for layer in keep if not 0 <= layer < count]
    if missing:
        raise InputError(f"layers {list(keep)}: {missing} are not among 0 to {count - 1}")
    if sorted(set(keep)) != list(keep):
        raise InputError(f"layers {list(keep)}: name each once, in rising order")


def _average(state: Mapping[str, Tensor], name: str, used: Sequence[int], family: Family) -> Tensor:
    """The mean of this weight over the layers that will use it, and have one of their own."""
    match = family.in_layer.match(name)
    assert match is not None
    names = [f"{match[1]}{layer}.{match[3]}" for layer, source in enumerate(used) if source == int(match[2])]
    weights = [state[each].float() for each in names if each in state]
    return (sum(weights[1:], weights[0]) / len(weights)).to(state[name].dtype)


def _matrix(name: str) -> tuple[int, str]:
    layer, _, matrix = name.partition(".")
    return int(layer), matrix
