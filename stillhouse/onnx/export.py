"""Write a model as one ONNX file with free batch and sequence axes.

Both of torch's exporters were measured (MiniLM-L6, 2 cores, ONNX Runtime 1.32). Their graphs are equally fast: within
7 % of each other, TorchScript's ahead at batch 32. TorchScript's takes 1.5 s where torch.export's takes 11 s, and 0.4 s
where that takes 8 s on a two-layer model; it writes no source paths, and no `value_info`, which dynamic quantization
trips over. So TorchScript it is. What tracing could get wrong, a branch baked in, is ruled out by running the file on
another shape than it was traced on. Attention is exported as eager: the smallest graph, and the fastest.

An int8 model's products become MatMulInteger on its own integers. Its logits are not ONNX Runtime's to the last digit:
sums in another order differ by 1e-7, and where that turns a rounding the other way, one activation moves by a whole
step. So it is held to the sum of what both may round away: twice the distance from the same weights with activations
that are not rounded. So is every other form that rounds. float8 weights are exported as the fp32 numbers that they
stand for.
"""

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.surgery.quantizing import dequantize, quantized

OPSET = 18
TOLERANCE = 1e-3  # of the logits; fp32 graphs differ by some 1e-6


def export_onnx(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    file: Path,
    *,
    outputs: Sequence[str] = ("logits",),
    per_token: bool = False,
    unrounded: PreTrainedModel | None = None,
) -> None:
    """Export a model, in eval mode, in fp32, fp16 or int8. The same weights give the same bytes.

    Args:
        model: any encoder that takes the tokenizer's inputs; it is given back as it was.
        tokenizer: of its `model_input_names` those that the model uses are the graph's inputs, int64 (batch, sequence).
        file: where the graph goes, weights included.
        outputs: attributes of the model's output, in order; each is an output of the graph.
        per_token: whether the outputs have the sequence axis too: (batch, sequence, …), not (batch, …).
        unrounded: the same weights in fp32 with nothing rounded, where `model` rounds; None: `model` itself, or what
            its checkpoint's integers stand for.

    Raises:
        RuntimeError: the graph does not give the model's outputs on another shape than it was traced on.
    """
    names = input_names(model, tokenizer)
    axes = {name: {0: "batch", 1: "sequence"} for name in names}
    axes |= {name: {0: "batch"} | ({1: "sequence"} if per_token else {}) for name in outputs}
    if quantized(model) == "float8":
        model = dequantize(model)
    training, attention = model.training, model.config._attn_implementation
    model.eval()
    model.set_attn_implementation("eager")
    try:
        graph = _Positional(model, names, outputs).eval()  # the exporter puts back the mode it finds
        with warnings.catch_warnings():
            # The exporter's deprecation, and the tracer's doubts about branches: see above.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            warnings.filterwarnings("ignore", message="Exporting aten::index")  # of negative indices, which none are
            warnings.filterwarnings("ignore", message="To copy construct from a tensor")  # DeBERTa's root of a size
            warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size other")  # of LSTMs
            torch.onnx.export(
                graph,
                _example(model, names, batch=2, length=6),
                str(file),
                input_names=names,
                output_names=list(outputs),
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
        free = _Positional(unrounded or dequantize(model), names, outputs).eval()
        _check(graph, free, _example(model, names, batch=3, length=11), file)
    finally:
        model.train(training)
        model.set_attn_implementation(attention)


def input_names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokenizer's outputs that the model's forward takes, in the tokenizer's order."""
    takes = inspect.signature(model.forward).parameters
    return [name for name in tokenizer.model_input_names if name in takes]


class _Positional(nn.Module):
    """The model as tracing wants it: tensors in, tensors out, by position."""

    def __init__(self, model: PreTrainedModel, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        result = self.model(**dict(zip(self.inputs, tensors, strict=True)))
        found = tuple(getattr(result, name) for name in self.outputs)
        return tuple(each.float() if each.dtype == torch.float16 else each for each in found)


def _example(model: PreTrainedModel, names: Sequence[str], batch: int, length: int) -> tuple[Tensor, ...]:
    """Sentences of `length` tokens, the first of them two shorter and padded: a mask of ones would be traced away."""
    device = model.device
    mask = torch.ones(batch, length, dtype=torch.long, device=device)
    mask[0, -2:] = 0
    vocabulary: int = model.get_input_embeddings().num_embeddings  # type: ignore[assignment]
    # An id apart from the padding's, which some families take as the end when they count positions.
    ids = torch.arange(batch * length, device=device).view(batch, length) % (vocabulary - 2) + 2
    tensors = {"input_ids": ids, "attention_mask": mask}
    return tuple(tensors.get(name, torch.zeros_like(mask)) for name in names)


def _check(graph: _Positional, free: _Positional, inputs: tuple[Tensor, ...], file: Path) -> None:
    from stillhouse.onnx.sessions import feed, open_session

    # Pairs of rounding are for other runtimes: ONNX Runtime's own fusing of them is not what is looked at.
    session = open_session(file, threads=1, optimize=quantized(graph.model) is not None or free.model is graph.model)
    batch = {name: tensor.cpu().numpy() for name, tensor in zip(graph.inputs, inputs, strict=True)}
    # An input that the model takes and does not use is none of the graph's.
    given = session.run(list(graph.outputs), feed(session, batch))
    with torch.inference_mode():
        wanted = graph(*inputs)
        unrounded = wanted if free.model is graph.model else free(*inputs)
    for name, one, other, exact in zip(graph.outputs, wanted, given, unrounded, strict=True):
        difference = float(np.abs(one.cpu().numpy() - other).max())
        if not difference <= max(TOLERANCE, 2 * float((one - exact).abs().max())):
            raise RuntimeError(f"'{file}': output '{name}' differs from the model's by {difference:.2g}")
