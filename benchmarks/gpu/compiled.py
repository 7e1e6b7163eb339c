"""The step of BERT-base → its even layers, compiled by torch.compile: teacher and student, each in place."""

from benchmarks.gpu.bare import measured, operations, with_share
from benchmarks.gpu.bert import Work
from benchmarks.gpu.setting import Row, Setting
from stillhouse.training.attention import quick_attention


def measure(setting: Setting) -> list[Row]:
    """By inductor on a card; without one by aot_eager, which traces all the same and generates no code."""
    work = Work.of(setting)
    training = work.training(setting)
    flops = operations(training)
    backend = "inductor" if setting.card else "aot_eager"
    with quick_attention(training.model):
        for model in (training.teacher, training.model):
            assert model is not None
            model.compile(backend=backend, dynamic=False)
        row = measured(setting, f"step, compiled by {backend}", training)
    return with_share(setting, [row], flops, work.batch)
