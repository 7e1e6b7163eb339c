"""The data: where `data`, `qa` and `corpus` take it from, and whether its labels are the teacher's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from datasets import ClassLabel, Features
from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from pyarrow import ArrowInvalid, parquet

from flows.checks.blocks import model_of
from flows.checks.finding import PATIENCE, Finding, Setup, fault, ok, reason, warning
from flows.checks.teacher import config_of, local_folder
from stillhouse.encoders.labels import label_order
from stillhouse.errors import InputError
from tasks.phases.teacher import has_classifier
from tasks.sources.docstrings import find_library
from tasks.sources.layouts import read_columns, read_layout
from tasks.sources.split import Source
from tasks.sources.squad import read_squad_folder
from tasks.sources.texts import read_folder
from tasks.stage.params import load

# A block, its stage, and what the stage writes.
SOURCES = {"data": ("prepare", "data/task"), "qa": ("prepare-qa", "data/qa"), "corpus": ("corpus", "data/corpus")}


def sources(setup: Setup) -> Iterator[Finding]:
    """The sources that the recipe's data blocks name exist: libraries, files with their columns, hub datasets."""
    for block, (stage, out) in SOURCES.items():
        if not setup.has(stage):
            continue
        try:
            params: Any = load(block, model_of(block))
        except InputError:
            continue  # the check of params.yaml says what is wrong with it
        try:
            if params.source == "hub":
                yield _on_the_hub(block, params.hub, Path(out))
            elif params.source == "files":
                yield ok(block, _files(block, params))
            else:
                yield ok(block, _libraries(params))
        except InputError as error:
            yield fault(block, f"{block}: {error}")


def _libraries(params: Any) -> str:
    names = params.libraries if hasattr(params, "libraries") else params.docstrings.libraries
    for name in names:
        find_library(name)
    return f"built in, from the docstrings of {', '.join(names)}"


def _files(block: str, params: Any) -> str:
    """Read the first row of each file, which checks its columns."""
    if block == "corpus":
        if params.folder is None:
            raise InputError("corpus.folder = null: name a folder of .txt, or choose another corpus.source")
        next(read_folder(Path(params.folder)), None)
        return f"text in {params.folder}"
    files = params.files
    if files.folder is None:
        raise InputError(f"{block}.files.folder = null: name a folder, or choose another {block}.source")
    folder, names = Path(files.folder), (files.train, files.validation)
    if not folder.is_dir():
        raise InputError(f"{block}.files.folder = '{folder}': no such folder: correct it in params.yaml")
    source = read_squad_folder(folder, *names) if block == "qa" else _table(params, folder, names)
    for split in (source.train, source.validation):
        if next(split.rows(), None) is None:
            raise InputError(f"'{split.where}' has no rows")
    return f"'{source.train.where}' and '{source.validation.where}' with {', '.join(source.columns)}"


def _table(params: Any, folder: Path, names: tuple[str | None, str | None]) -> Source:
    if params.files.layout is None:
        raise InputError("data.files.layout = null: choose table, or one of GLUE's")
    if params.files.layout != "table":
        return read_layout(params.files.layout, folder, *names)
    columns = {name: column for name, column in params.columns.model_dump().items() if column is not None}
    for key in ("text", "label"):
        if key not in columns:
            raise InputError(f"data.columns.{key} = null: name the column that holds it")
    return read_columns(folder, *names, columns)


def _on_the_hub(block: str, hub: Any, out: Path) -> Finding:
    if hub.name is None:
        raise InputError(f"{block}.hub.name = null: name a dataset, or choose another {block}.source")
    where = f"{block}.hub.name = '{hub.name}'"
    if Path(hub.name).is_dir():
        return ok(block, f"{where}: a local folder")
    try:
        HfApi().dataset_info(hub.name, revision=hub.revision, timeout=PATIENCE)
    except (HfHubHTTPError, HFValidationError) as error:
        return fault(block, f"{where}: the hub has no such dataset ({type(error).__name__})", "check name and revision")
    except (OfflineModeIsEnabled, OSError, httpx2.TransportError) as error:
        away = f"{where}: the hub cannot be reached ({reason(error)})"
        if out.is_dir():
            return warning(block, f"{away}, but '{out}' is prepared", "connect before it is prepared anew")
        if (Path(HF_HUB_CACHE) / f"datasets--{hub.name.replace('/', '--')}").is_dir():
            return warning(block, f"{away}, but some of it was fetched before", "connect, if prepare wants more")
        return fault(block, away, f"connect, or take {block}.source = files with files from a machine that is")
    return ok(block, f"{where}: on the hub")


def labels(setup: Setup) -> Iterator[Finding]:
    """The prepared task's labels are those of the teacher's classifier, if it has one."""
    name = (setup.params.get("teacher") or {}).get("model")
    if not isinstance(name, str) or not setup.has("teacher"):
        return
    file = Path(SOURCES["data"][1]) / "train.parquet"
    if not file.is_file():
        yield ok("labels", f"'{file.parent}' is not prepared yet: nothing to compare with the teacher's")
        return
    try:
        data = _data_labels(file)
        folder = local_folder(name)
        if folder is None:
            yield ok("labels", f"'{name}' is not fetched yet: nothing to compare with the data's")
        elif not has_classifier(folder):
            yield ok("labels", f"the data has {len(data) or 'scores'}; teacher.model has no classifier: it gets one")
        else:
            yield _agree(data, config_of(folder), file.parent)
    except InputError as error:
        yield fault("labels", str(error))


def _data_labels(file: Path) -> tuple[str, ...]:
    """The label names in order; none for scores."""
    try:
        feature = Features.from_arrow_schema(parquet.read_schema(file)).get("label")
    except ArrowInvalid as error:
        raise InputError(f"'{file}' is damaged ({reason(error)}): dvc repro -f prepare") from None
    return tuple(feature.names) if isinstance(feature, ClassLabel) else ()


def _agree(data: tuple[str, ...], config: dict[str, Any], folder: Path) -> Finding:
    """Compare the labels by the rules of `tasks.phases.teacher.load_start`."""
    named = config.get("id2label") or {}
    model = tuple(named[key] for key in sorted(named, key=int))
    count = len(model) or 2  # transformers' default, which its config.json leaves out
    if not data:
        if count == 1:
            return ok("labels", "scores, and the teacher has one output")
        return fault("labels", f"'{folder}' holds scores, teacher.model has {count} outputs", "give a model of scores")
    if all(label == f"LABEL_{number}" for number, label in enumerate(model)):
        if count == len(data):
            return ok("labels", f"the data's {count}; the teacher's have no names, and are taken in this order")
        return fault("labels", f"'{folder}' has {len(data)}, teacher.model has {count}", "give a model of this task")
    order = label_order(data, model)  # raises where the names differ
    same = order == list(range(len(order)))
    return ok("labels", f"{', '.join(data)}: the teacher's too" + ("" if same else ", in another order: reordered"))
