"""params.yaml and dvc.yaml."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from flows.checks.blocks import SHARED, model_of
from flows.checks.finding import Finding, Setup, fault, ok
from flows.dag.graph import load_graph, recipes
from stillhouse.errors import InputError
from tasks.phases.moved import refuse_moved
from tasks.stage.outside import refuse_outputs
from tasks.stage.params import PARAMS, load, read_yaml


def params(setup: Setup) -> Iterator[Finding]:
    """Every block is known and valid; a fault for each key that is not."""
    blocks = list(dict.fromkeys([*SHARED, *recipes(setup.graph), *read_yaml(PARAMS)]))
    valid = 0
    for block in blocks:
        try:
            model = model_of(block)
            refuse_moved(block, model, PARAMS)
            load(block, model)
            valid += 1
        except InputError as error:
            # `load` reports all faults of a block in one message, each after the file's name.
            for part in str(error).removeprefix(f"{PARAMS}: ").split(f"; {PARAMS}: "):
                yield fault("params", f"{PARAMS}: {part}")
    if valid == len(blocks):
        yield ok("params", f"{PARAMS}: all {valid} blocks are valid")


def pipeline(setup: Setup) -> Iterator[Finding]:
    """DVC accepts dvc.yaml, and the programs of its stages exist."""
    if not setup.graph:
        load_graph(setup.root)  # raises DVC's reason
    try:
        refuse_outputs(read_yaml(setup.root / PARAMS), setup.root)
    except InputError as error:
        yield fault("sources", str(error))
    missing = False
    for name, stage in read_yaml(setup.root / "dvc.yaml")["stages"].items():
        words = str(stage.get("do", stage)["cmd"]).split()
        if "-m" in words:
            program = words[words.index("-m") + 1]
            there = (setup.root / Path(*program.split("."))).with_suffix(".py").is_file()
        else:
            program, there = words[0], shutil.which(words[0]) is not None
        if not there:
            missing = True
            yield fault("dvc.yaml", f"stage '{name}' runs '{program}', which is not there", "correct its cmd")
    if not missing:
        scope = f", {len(setup.stages)} of them for {setup.recipe}" if setup.recipe else ""
        yield ok("dvc.yaml", f"{len(setup.graph)} stages{scope}; all their programs are there")
