"""How large a model is and what it costs: parameters, sparsity, FLOPs, bytes."""

from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from stillhouse.encoders.checkpoint import weight_files
from stillhouse.encoders.fits import longest_of
from stillhouse.errors import InputError


def parameters(model: nn.Module) -> int:
    """Weights and biases; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def nonzero_parameters(model: nn.Module) -> int:
    """Those that are not zero."""
    return sum(_nonzero(parameter) for parameter in model.parameters())


def sparsity(model: nn.Module) -> float:
    """Nominal sparsity: the share of zeros in the weight matrices, embeddings included.

    It says nothing about bytes or time: a matrix full of zeros is stored and multiplied like any other.
    """
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    zeros = sum(matrix.numel() - _nonzero(matrix) for matrix in matrices)
    return zeros / sum(matrix.numel() for matrix in matrices)


def _nonzero(parameter: torch.Tensor) -> int:
    # torch does not count float8's.
    floats = parameter.float() if parameter.dtype == torch.float8_e4m3fn else parameter
    return int(torch.count_nonzero(floats))


def flops(model: PreTrainedModel, tokens: int, pair: bool = False) -> int:
    """Floating point operations of one forward pass of one sentence, two a multiply-add, matrix products only.

    Args:
        tokens: of the sentence, or of both sentences of a pair together.
        pair: whether the later half of them is a second sentence.

    For BERT with n layers, width d, FFN width i, C classes, L tokens:
    n·(8·L·d² + 4·L·d·i + 4·L²·d) + 2·d² + 2·d·C. Dense: zeros count like any other number.

    Raises:
        InputError: the model does not take so many tokens.
    """
    longest = longest_input(model)
    if longest is not None and tokens > longest:
        raise InputError(f"evaluate.tokens = {tokens}: the model takes {longest}: lower it")
    training, attention = model.training, model.config._attn_implementation
    model.eval()
    model.set_attn_implementation("eager")  # fused attention kernels are not all known to the counter
    ones = torch.ones(1, tokens, dtype=torch.long, device=model.device)
    inputs = {"input_ids": ones, "attention_mask": ones}
    if pair and getattr(model.config, "type_vocab_size", 1) > 1:
        inputs["token_type_ids"] = (torch.arange(tokens, device=model.device) >= tokens // 2).long()[None]
    counter = FlopCounterMode(display=False, custom_mapping=LSTM_FLOPS)
    try:
        with torch.no_grad(), counter:
            model(**inputs)
    finally:
        model.train(training)
        model.set_attn_implementation(attention)
    return counter.get_total_flops()


def _lstm_flops(words: torch.Size, from_words: torch.Size, from_state: torch.Size, *_, **__) -> int:
    """Of oneDNN's fused layer, which the counter does not know: words (L, B, E), matrices (4H, E) and (4H, H)."""
    return 2 * words[0] * words[1] * (from_words.numel() + from_state.numel())


LSTM_FLOPS = {torch.ops.aten.mkldnn_rnn_layer: _lstm_flops}  # for `FlopCounterMode`


def longest_input(model: PreTrainedModel) -> int | None:
    """Tokens that the model's position table has room for; None where it has no such table."""
    return longest_of(model.config.to_dict())


def checkpoint_bytes(folder: Path) -> int:
    """Bytes of a checkpoint's weights on disk."""
    return sum(file.stat().st_size for file in weight_files(folder))
