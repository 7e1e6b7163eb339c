"""Structured pruning in two stages: what stays, then slicing and retraining.

    python -m tasks.structured structured --phase gates --data … --teacher … --out models/structured-gates
    python -m tasks.structured structured --data … --teacher … --gates models/structured-gates --out models/structured

The first writes the teacher's checkpoint (its weights may be trained with the gates) and gates.json: the heads, FFN
units and dimensions that stay, counted from 0. The second prints, with the share of the FLOPs, that of measured time;
its teacher may be another model, whose logits then teach the slices.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.encoders.measure import longest_input
from stillhouse.errors import InputError
from stillhouse.methods.structured import Keep, slice_model
from stillhouse.onnx.latency import time_in_turns, token_batch
from stillhouse.surgery.gates import GATE_KINDS
from tasks.kinds.find import load_task
from tasks.phases.recipe import load_phase
from tasks.phases.run import Given, train_student
from tasks.stage import launch
from tasks.stage.params import PARAMS, EvaluateParams, TrainParams, load
from tasks.stage.workspace import clear, workspace
from tasks.tracking.journal import stage_run

BATCH = 8  # sentences of the time measurement


def main() -> None:
    args = arguments()
    plan, params = load_phase(args.recipe, args.phase, args.params)
    train = load("train", TrainParams, args.params)
    tokens = load("evaluate", EvaluateParams, args.params).tokens
    task = load_task(args.data, args.params)
    kind = task.kind
    reads = [path for path in (args.data, args.teacher, args.gates) if path]
    blocks = {f"{args.recipe}.{args.phase}": params, "train": train, "kinds": {kind.name: kind.numbers}}
    with stage_run("prune", blocks | {"evaluate": {"tokens": tokens}}, reads) as run:
        work = workspace(f"{args.recipe}-{args.phase}", reads, [params, train, str(tokens), kind.numbers])
        teacher = kind.load(args.teacher)
        given = Given(task.train, task, load_tokenizer(args.teacher), teacher, [args.teacher])
        if args.gates is not None:
            student = slice_model(load_model(args.gates, kind.auto), read_keep(args.gates))
            own = load_tokenizer(args.gates)  # of a trimmed vocabulary, say
            share = time_share(student, given.teacher, tokens)
            print(f"sliced: {share:.1%} of the teacher's time at {BATCH} × {tokens} tokens, measured", flush=True)
            run.log_metrics({"time_share": share})
            given = replace(given, student=student, student_tokenizer=own)
        made = plan(params, given, tokens) if args.phase == "gates" else plan(params, given)
        train_student(made, given, train, work, run, args.out)
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.structured", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help="slug of the recipe, and of its block in params.yaml")
    parser.add_argument("--phase", choices=["gates", "retrain"], default="retrain")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--teacher", type=Path, required=True, help="what is pruned; of `retrain`, whose logits teach")
    parser.add_argument("--gates", type=Path, help="what the phase `gates` wrote; of the phase `retrain`")
    parser.add_argument("--out", type=Path, required=True, help="where the model goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    args = parser.parse_args()
    if (args.gates is None) != (args.phase == "gates"):
        parser.error("--gates goes with --phase retrain, and with it alone")
    return args


def read_keep(folder: Path) -> Keep:
    """What gates.json says stays.

    Raises:
        InputError: the file is missing or damaged.
    """
    file = folder / "gates.json"
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        return {kind: tree[kind] for kind in GATE_KINDS}
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise InputError(f"'{file}' cannot be read ({error}): run the stage that writes it again") from None


def time_share(student: PreTrainedModel, teacher: PreTrainedModel, tokens: int) -> float:
    """The student's time over the teacher's, medians of forward passes in turns."""
    tokens = min(tokens, longest_input(teacher) or tokens)
    tables: list[Any] = [model.get_input_embeddings() for model in (student, teacher)]
    vocabulary = min(table.num_embeddings for table in tables)  # the same token ids, so those that both know
    batch = {name: torch.from_numpy(ids) for name, ids in token_batch(BATCH, tokens, vocabulary).items()}
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    calls = {"student": lambda: student(**inputs), "teacher": lambda: teacher(**inputs)}
    with torch.inference_mode():
        seconds = time_in_turns(calls, repeats=10)
    return float(np.median(seconds["student"]) / np.median(seconds["teacher"]))


if __name__ == "__main__":
    launch.run(main)
