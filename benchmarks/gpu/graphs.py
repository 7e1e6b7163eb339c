"""The whole step of BERT-base → its even layers as one CUDA graph: nothing is launched from Python but its replay."""

import torch

from benchmarks.gpu.bare import measured, operations, with_share
from benchmarks.gpu.bert import Work
from benchmarks.gpu.setting import NotHereError, Row, Setting
from stillhouse.training.attention import quick_attention


def measure(setting: Setting) -> list[Row]:
    """Teacher, student, loss, gradients, clipping and AdamW, captured and replayed."""
    if not setting.card:
        raise NotHereError("a CUDA graph needs a card")
    work = Work.of(setting)
    training = work.training(setting, capturable=True)
    with quick_attention(training.model):
        flops = operations(training)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # what is made at the first steps must be there before the capture
            for _ in range(3):
                training()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = training()
        row = measured(setting, "step, one CUDA graph", training, graph.replay)
    if not loss.isfinite():
        raise RuntimeError("the loss of the captured step is not finite")
    return with_share(setting, [row], flops, work.batch)
