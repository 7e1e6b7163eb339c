"""params.yaml, checked: frozen pydantic blocks, no defaults in Python, errors that name the key and the value.

A default in Python would be a number that DVC never tracks, so a missing key is an error like an unknown one. Blocks
that several programs read stand here; a recipe's own block stands in `tasks/recipes/SLUG.py`.
"""

import copy
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stillhouse.errors import InputError

PARAMS = Path("params.yaml")


class Block(BaseModel):
    """One block of params.yaml. Unknown keys and silent conversions ("3" for 3) are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SharedParams(BaseModel):
    """`shared`: what phases merge into their blocks by `<<`; each phase checks what it got."""

    model_config = ConfigDict(extra="allow", frozen=True)


class TrainParams(Block):
    """`train`: how every stage trains; what it trains on is in its own block."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(description="auto: bf16 where the hardware has it")
    max_length: int = Field(gt=2, description="Tokens; longer texts are cut")
    eval_batch_size: int = Field(gt=0, description="Sentences a batch where nothing is trained")
    checkpoint_steps: int = Field(gt=0, description="Optimizer steps between two checkpoints (a killed stage resumes)")
    warmup: float = Field(ge=0, lt=1, description="Share of the steps over which the learning rate rises")
    weight_decay: float = Field(ge=0, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(gt=0, description="Gradients are clipped to this norm")
    soft_labels: Literal["instead", "beside"] = Field(
        description="Where rows have probabilities: instead of the teacher's logits, or beside them, as the mean"
    )
    processes: int = Field(gt=0, description="Processes of a stage that trains, a GPU each; they share each batch")
    machines: int = Field(gt=0, description="Machines that train a stage together, with so many processes each")


class Phase(Block):
    """One training phase of a recipe."""

    epochs: float = Field(gt=0, description="Passes over the data")
    batch_size: int = Field(gt=0, description="Sentences an optimizer step")
    learning_rate: float = Field(gt=0, description="Peak learning rate; linear warm-up, linear decay")
    seed: int = Field(ge=0, description="Order of the data, dropout, new weights")


class EvaluateParams(Block):
    """`evaluate`: what is measured. The training stages read its metric too."""

    metric: str = Field(description="The headline, one that the kind of task has")
    batch_sizes: list[int] = Field(min_length=1, description="Sentences a call in the latency measurement")
    tokens: int = Field(gt=2, description="Length of the sentences that latency and FLOPs are measured on")
    repeats: int = Field(gt=0, description="Timed calls at batch 1; a tenth of them at larger batches")
    threads: int | None = Field(gt=0, description="Threads of the measured runtime; null for all cores")


class BudgetParams(Block):
    """`budget`: what a compressed model should be; its evaluation says whether it is. null: nothing is asked."""

    smaller: float | None = Field(ge=1, description="How many times its ONNX file goes into the teacher's, at least")
    kept: float | None = Field(gt=0, description="Share of the teacher's metric that it keeps, at least")


B = TypeVar("B", bound=BaseModel)


def load(block: str, model: type[B], path: Path = PARAMS) -> B:
    """Read one block of params.yaml, or a part of one: `train`, `hinton.distill`.

    Raises:
        InputError: the file or the block is missing, or a key is unknown, missing or out of range.
    """
    tree: Any = read_yaml(path)
    for part in block.split("."):
        if not isinstance(tree, dict) or part not in tree:
            raise InputError(f"{path}: block '{block}' is missing: restore it from version control")
        tree = tree[part]
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise InputError("; ".join(_lines(path, block, error))) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC reads it (in 1.1, `5e-5` would be text)."""
    try:
        tree = copy.deepcopy(_parse(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: run from the project's folder, or give --params") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte 0x{error.object[error.start]:02x}): save it as UTF-8") from None
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected a mapping of blocks, found {type(tree).__name__}")
    return tree


def mapping(tree: Mapping[str, Any], name: str, within: str = "") -> dict[str, Any]:
    """A block of a tree, for who reads a key or two of it without its model; one that is missing or null is empty.

    Args:
        within: the key of the tree itself, for the message.

    Raises:
        InputError: it is something else.
    """
    found = tree.get(name)
    if found is not None and not isinstance(found, dict):
        key = f"{within}.{name}" if within else name
        raise InputError(
            f"{PARAMS}: {key} = {str(found)[:80]!r}: a mapping is expected: restore it from version control"
        )
    return found or {}


@lru_cache(maxsize=8)
def _parse(text: str) -> Any:
    """A program reads several blocks, and the parser takes a tenth of a second for them all."""
    return YAML(typ="safe", pure=True).load(text)


def _lines(path: Path, block: str, error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors():
        key = ".".join([block, *(str(part) for part in fault["loc"])])
        if fault["type"] == "missing":
            lines.append(f"{path}: {key} is missing: every number stands in params.yaml")
        elif fault["type"] == "extra_forbidden":
            lines.append(f"{path}: {key} = {fault['input']!r} is not a known key: check its spelling")
        elif fault["type"] == "value_error" and isinstance(fault["input"], dict):
            # Of several keys together: which ones, the message says.
            lines.append(f"{path}: {key}: {fault['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"{path}: {key} = {fault['input']!r}: {fault['msg']}")
    return lines
