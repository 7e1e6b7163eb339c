"""Surgery on encoders: functions that take a model and give another one of a smaller shape."""

from stillhouse.surgery.factorizing import factorize, factorize_embedding
from stillhouse.surgery.layers import drop_layers, share_layers
from stillhouse.surgery.quantizing import dequantize, quantize
from stillhouse.surgery.slicing import slice_embedding, slice_ffn, slice_heads
from stillhouse.surgery.trimming import trim

__all__ = [
    "dequantize",
    "drop_layers",
    "factorize",
    "factorize_embedding",
    "quantize",
    "share_layers",
    "slice_embedding",
    "slice_ffn",
    "slice_heads",
    "trim",
]
