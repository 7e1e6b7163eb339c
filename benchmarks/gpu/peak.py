"""What the card is, and the peak of its products in each type of number."""

import platform

import torch

from benchmarks.gpu.setting import Row, Setting, matrix_peak


def measure(setting: Setting) -> list[Row]:
    """A row a type."""
    if setting.card:
        facts = torch.cuda.get_device_properties(0)
        card = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, capability {facts.major}.{facts.minor}"
    else:
        card = f"{platform.machine()}, {torch.get_num_threads()} threads"
    types = [torch.float32, torch.bfloat16, *([torch.float16] if setting.card else [])]
    return [
        {"what": str(dtype).removeprefix("torch."), "TFLOP/s": round(matrix_peak(setting, dtype), 2), "device": card}
        for dtype in types
    ]
