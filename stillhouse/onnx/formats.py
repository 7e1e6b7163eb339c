"""The formats that a model can be exported in, and the runtimes that each is for.

A model's own format is what the stage `export` writes: fp32, or dynamic int8 if its checkpoint is int8. Here any model
is written in any of them; one that is int8 starts from the numbers that its integers stand for.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from stillhouse.surgery.quantizing import Range


@dataclass(frozen=True)
class Format:
    """A format of the ONNX file.

    Args:
        does: what it is, in words.
        runtimes: names in `stillhouse.onnx.runtimes`: where it is worth running.
        calibrated: whether it needs the ranges of what goes into each linear layer.
    """

    does: str
    runtimes: tuple[str, ...]
    calibrated: bool = False


FORMATS = {
    "fp32": Format("full precision", ("onnxruntime", "openvino", "onnxruntime-cuda", "tensorrt")),
    "fp16": Format("half precision", ("onnxruntime-cuda", "tensorrt")),
    "int8-dynamic": Format("eight-bit weights, activations rounded by their own range", ("onnxruntime",)),
    "int8-qdq": Format("eight-bit weights and activations, symmetric", ("openvino", "tensorrt"), calibrated=True),
}


def write_format(
    name: str,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    file: Path,
    *,
    ranges: "Mapping[str, Range] | None" = None,
    **kind: Any,
) -> None:
    """Export a model in one of `FORMATS`. The same weights give the same bytes.

    Args:
        model: in eval mode, in full precision or int8; left as it is.
        ranges: of a calibrated format.
        kind: `outputs` and `per_token`, as `export_onnx` takes them.

    Raises:
        InputError: the model has no such form, or there is no such format.
        RuntimeError: the graph does not give the model's outputs.
    """
    # Not at the top: who asks what formats there are, a report or a flow, does not start torch.
    from stillhouse.onnx.export import export_onnx
    from stillhouse.onnx.pairs import with_pairs
    from stillhouse.surgery.quantizing import dequantize, quantize

    check_formats([name])
    full = dequantize(model)
    if name == "fp32":
        export_onnx(full, tokenizer, file, **kind)
    elif name == "fp16":
        export_onnx(copy.deepcopy(full).half(), tokenizer, file, unrounded=full, **kind)
    elif name == "int8-dynamic":
        export_onnx(quantize(full), tokenizer, file, **kind)
    else:
        if ranges is None:
            raise InputError(f"the format {name} needs calibrated ranges: calibrate on this model")
        export_onnx(with_pairs(full, ranges), tokenizer, file, unrounded=full, **kind)


def check_formats(names: Sequence[str]) -> None:
    """Raise for a format that there is not.

    Raises:
        InputError: it is not in `FORMATS`.
    """
    for name in names:
        if name not in FORMATS:
            raise InputError(f"there is no format '{name[:80]}': choose of {', '.join(FORMATS)}")
