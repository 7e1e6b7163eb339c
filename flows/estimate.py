"""How long a recipe's training may take here, and how much it writes: roughly, from a few steps of the teacher.

Time: rows × epochs × seconds a row, measured on this machine at the task's own lengths, times what the phase's model
costs beside the teacher: its share of the layers, and, where a teacher looks on, the third of a step that a forward
pass is. Disk: each checkpoint that a stage keeps has the teacher's size, twice (in DVC's cache and in the workspace, as
where links are not possible), and so have its ONNX file and what is registered; trainings side by side keep two states
each, of weights and AdamW's two moments.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet

PHASE = {"epochs", "batch_size", "learning_rate", "seed"}
TEACHERS = ("teacher", "teacher-qa", "ensemble", "mlm")  # blocks whose phases train a model of the teacher's size
ENOUGH = 4.0  # seconds of measuring
STEPS = 3  # timed ones at most


@dataclass(frozen=True)
class Training:
    """A training phase of a stage.

    Args:
        rows: None where nobody knows before the data is prepared.
        cost: of a row, beside a row of plain training of the teacher.
    """

    stage: str
    key: str
    rows: int | None
    epochs: float
    cost: float

    def seconds(self, a_row: float) -> float:
        return (self.rows or 0) * self.epochs * self.cost * a_row


def trainings(
    stages: Sequence[str], dag: Mapping[str, Any], params: Mapping[str, Any], layers: int, tokens: int
) -> list[Training]:
    """The training phases that these stages have, by the parameters that each tracks.

    Args:
        stages: their names, as DVC has them.
        dag: `stages` of dvc.yaml.
        params: params.yaml.
        layers: of the teacher.
        tokens: of a row of the task; a question's windows have their own length.
    """
    found = []
    for name in stages:
        stage = dag[name.partition("@")[0]]
        stage = stage.get("do", stage)
        for key in stage.get("params", ()):
            for path, phase in _phases(key, _at(params, key)):
                block = params[path.split(".")[0]]
                if path == "int8.train" and block.get("activations") != "trained":
                    continue
                data = _data(stage, params)
                rows = rows_of(data, params)
                longer = params["windows"]["max_length"] / tokens if data == "data/qa" else 1.0
                if path.startswith("mlm.") and rows is not None:
                    rows = min(rows, block.get("sentences") or rows)
                found.append(Training(name, path, rows, phase["epochs"], longer * _cost(path, block, layers)))
    return found


def rows_of(path: str, params: Mapping[str, Any]) -> int | None:
    """Rows to train on: counted where they are prepared, else as params.yaml promises them."""
    for name in (path, f"{path}/train.parquet", f"{path}/corpus.parquet"):
        if name.endswith(".parquet") and Path(name).is_file():
            return int(parquet.read_metadata(name).num_rows)
    folder = path.split("/")[1] if path.startswith("data/") else ""
    if folder == "corpus":
        return params["corpus"]["sentences"]
    if folder in ("task", "qa"):
        block = params["data" if folder == "task" else "qa"]
        drawn = None
        if block["source"] == "docstrings":
            drawn = len(block["docstrings"]["libraries"]) * block["docstrings"]["train_per_library"]
        return min((count for count in (drawn, block["train_limit"]) if count is not None), default=None)
    task = rows_of("data/task", params)
    if task is not None and folder == "augmented":
        return task + min(task, params["augment"]["sentences"] or task) * params["augment"]["copies"]
    if task is not None and folder == "bilstm-augmented":
        return task * (1 + params["bilstm-augment"]["rounds"])
    return None


def disk(stages: Sequence[str], dag: Mapping[str, Any], params: Mapping[str, Any], weights: int, trained: int) -> int:
    """Bytes that these stages write at most.

    Args:
        weights: bytes of the teacher's.
        trained: how many of the stages train.
    """
    kept = 0
    for name in stages:
        stage = dag[name.partition("@")[0]]
        for out in stage.get("do", stage).get("outs", ()):
            if str(out) == "models/teacher-route":
                kept += params["teacher"]["route"]
            elif str(out).startswith("models/"):
                kept += 1
    registered = 2 * sum(name.startswith("report@") for name in stages)
    beside = min(trained, int(os.environ.get("STILLHOUSE_STAGES_AT_ONCE", "2")))
    return weights * (2 * kept + registered + 2 * 3 * beside)


def mean_tokens(file: Path, tokenizer: Any, longest: int) -> int:
    """Mean length of a prepared task's first rows, in tokens; half of the longest where it is not prepared."""
    if not file.is_file():
        return max(3, longest // 2)
    batch = next(parquet.ParquetFile(file).iter_batches(batch_size=256))
    texts = [batch.column(name).to_pylist() for name in ("text", "text_pair") if name in batch.schema.names]
    ids = tokenizer(*texts, truncation=True, max_length=longest)["input_ids"]
    return max(3, round(sum(map(len, ids)) / len(ids)))


def seconds_a_row(folder: Path, tokens: int, batch_size: int, precision: str) -> float:
    """Seconds that a row takes in plain training of the teacher, on this machine as it is now.

    Steps of four rows first; of a whole batch only where that is a matter of moments.

    Args:
        folder: a checkpoint, of which only the shape is read.
        tokens: a row's length.
        batch_size: rows a step.
        precision: fp32, bf16 or fp16.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForSequenceClassification.from_config(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def step(rows: int) -> float:
        ids = torch.randint(config.vocab_size, (rows, tokens), device=device)
        started = time.perf_counter()
        with torch.autocast(device, dtype, enabled=dtype is not None):
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        logits.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / rows

    started = time.perf_counter()
    a_row = 0.0
    for rows in dict.fromkeys((min(4, batch_size), batch_size)):
        first = step(rows)  # kernels are built, memory is taken
        if a_row and time.perf_counter() - started > ENOUGH:
            break
        timed = [first]
        while len(timed) <= STEPS and time.perf_counter() - started < ENOUGH:
            timed.append(step(rows))
        a_row = min(timed)  # the others were disturbed
        if a_row * batch_size * 2 > ENOUGH:
            break
    return a_row


def _phases(path: str, tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, dict):
        if set(tree) == PHASE:
            yield path, tree
        for key, value in tree.items():
            yield from _phases(f"{path}.{key}", value)


def _at(params: Mapping[str, Any], key: str) -> Any:
    tree: Any = params
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _data(stage: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """What of data/ a stage trains on: the task is read for its labels too, so something else goes first."""
    deps = [str(dep) for dep in stage.get("deps", ())]
    stated = [str(_at(params, dep[2:-1])) if dep.startswith("${") else dep for dep in deps]
    data = [path for path in stated if path.startswith("data/")]
    return next((path for path in data if not path.startswith("data/task")), data[0] if data else "")


def _cost(path: str, block: Mapping[str, Any], layers: int) -> float:
    if path.split(".")[0] in TEACHERS:
        return 1.0
    student = block.get("student")
    own = student.get("layers", layers) if isinstance(student, Mapping) else block.get("layers", layers)
    # `lowrank.layers` says whether, not how many.
    own = layers if isinstance(own, bool) else own
    times = len(block["shares"]) if path == "magnitude.recover" else 1  # at each share
    return times * (own / layers + 1 / 3)
