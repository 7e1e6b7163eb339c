"""Kinds of task by name, and a task's: `tasks/kinds/NAME.py`."""

import importlib
import importlib.util
import re
from pathlib import Path

from pydantic import BaseModel, Field, create_model

from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.data.schema import kind_of
from tasks.kinds.contract import Kind, Task
from tasks.stage.params import PARAMS, Block, TrainParams, load, read_yaml

NAME = re.compile(r"[a-z-]+")


def kind_class(name: str) -> type[Kind]:
    """A kind's class.

    Raises:
        InputError: there is no such kind.
    """
    module = f"tasks.kinds.{name.replace('-', '_')}"
    # A dot in it would be a module of another place.
    if NAME.fullmatch(name) and importlib.util.find_spec(module) is not None:
        kind = getattr(importlib.import_module(module), "KIND", None)
        if kind is not None:
            return kind
    raise InputError(f"data.kind = '{name}' is not one of {', '.join(kind_names())}: check its spelling")


def kind_names() -> list[str]:
    """All kinds there are."""
    modules = (file.stem for file in sorted(Path(__file__).parent.glob("[a-z]*.py")))
    found = (getattr(importlib.import_module(f"tasks.kinds.{name}"), "KIND", None) for name in modules)
    return [kind.name for kind in found if kind is not None]


def kinds_params() -> type[BaseModel]:
    """The model of the block `kinds`: the numbers of each."""
    fields = {name.replace("-", "_"): (kind_class(name).Numbers, Field(alias=name)) for name in kind_names()}
    return create_model("KindsParams", __base__=Block, **fields)  # type: ignore[call-overload]


def load_task(folder: Path, params: Path = PARAMS) -> Task:
    """Read data/task, as the kind of task that it was prepared for.

    Raises:
        InputError: a split is missing or empty, or it is of another kind than params.yaml names.
    """
    train, validation = (load_split(folder / f"{split}.parquet") for split in ("train", "validation"))
    name = kind_of(folder / "train.parquet")
    wanted = read_yaml(params).get("data", {}).get("kind")
    if name != wanted:
        raise InputError(f"'{folder}' holds {name}, data.kind = '{wanted}': prepare it again (dvc repro prepare)")
    kind = kind_class(name)
    numbers = load(f"kinds.{name}", kind.Numbers, params)
    made = kind(train, load("train", TrainParams, params), numbers)
    return Task(made, train, validation, folder)
