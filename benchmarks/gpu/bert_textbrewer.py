"""BERT-base of random weights teaches its even layers, at 128 tokens, by TextBrewer: in fp32, as in its examples."""

import tempfile
import time
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.gpu.bert import Work
from benchmarks.gpu.setting import NotHereError, Row, Setting, textbrewer_lacks
from stillhouse.training.batches import collate


def measure(setting: Setting) -> list[Row]:
    """One row."""
    lacking = textbrewer_lacks()
    if lacking:
        raise NotHereError(lacking)
    work = Work.of(setting)
    setting.forget()
    rate = textbrewer(setting, work)
    return [{"what": "TextBrewer, fp32", "samples/s": round(rate, 1), "GiB": setting.peak_memory()}]


def textbrewer(setting: Setting, work: Work) -> float:
    """Samples/s of its BasicDistiller, after the first steps."""
    from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig

    teacher, student = (model.to(setting.device) for model in work.models())
    batches, began = 0, 0.0

    def adapt(batch: dict, outputs: Any) -> dict:
        return {"logits": outputs.logits, "losses": outputs.loss}

    def collate_labels(rows: list[dict]) -> dict[str, torch.Tensor]:
        nonlocal batches, began
        if batches == work.first:
            setting.wait()
            began = time.perf_counter()
        batches += 1
        return collate(rows, 0)

    rows = work.rows(work.batch * work.steps)
    with tempfile.TemporaryDirectory() as folder:
        distiller = BasicDistiller(
            TrainingConfig(device=setting.device, output_dir=folder, log_dir=None),
            DistillationConfig(temperature=4.0, hard_label_weight=1),
            teacher, student, adapt, adapt,
        )  # fmt: skip
        loader = DataLoader(rows, batch_size=work.batch, collate_fn=collate_labels)
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-5)
        with distiller:
            distiller.train(optimizer, loader, num_epochs=1, callback=None, max_grad_norm=1.0)
    setting.wait()
    return work.batch * (work.steps - work.first) / (time.perf_counter() - began)
