"""The data: where `data` and `corpus` take it from, and whether the teacher's head and labels are of its kind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from datasets import ClassLabel, Features
from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from pyarrow import ArrowException, parquet

from flows.checks.blocks import model_of
from flows.checks.finding import PATIENCE, Finding, Setup, fault, ok, reason, warning
from flows.checks.teacher import config_of, kind_in, local_folder
from flows.dag.graph import lineage, recipes
from flows.dag.sources import changed_on_disk
from stillhouse.encoders.checkpoint import head_in
from stillhouse.encoders.label_names import label_order, names_in
from stillhouse.errors import InputError
from tasks.kinds.find import kind_class
from tasks.sources.builtin.docstrings import find_library
from tasks.sources.texts import read_folder
from tasks.stage.params import load

# A block, its stage, and what the stage writes.
SOURCES = {"data": ("prepare", "data/task"), "corpus": ("corpus", "data/corpus")}
# Heads of models that are not fine-tuned to a task: what is under them is a start for any.
UNTUNED = ("MaskedLM", "PreTraining")


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
            if block == "data":
                kind_class(params.kind)
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
    if params.files.folder is None:
        raise InputError(f"{block}.files.folder = null: name a folder, or choose another {block}.source")
    folder = Path(params.files.folder)
    if not folder.is_dir():
        raise InputError(f"{block}.files.folder = '{folder}': no such folder: correct it in params.yaml")
    source = kind_class(params.kind).source(params)
    for split in source.splits.values():
        if next(split.rows(), None) is None:
            raise InputError(f"'{split.where}' has no rows")
    names = " and ".join(f"'{split.where}'" for split in source.splits.values())
    return f"{names} with {', '.join(source.columns)}"


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
    """The teacher's head, if it has one, is of the task's kind, and its labels are those of the prepared task."""
    name, kind = (setup.params.get("teacher") or {}).get("model"), kind_in(setup)
    if kind is None or not isinstance(name, str) or not setup.has("teacher"):
        return
    try:
        folder = local_folder(name)
        if folder is None:
            yield ok("labels", f"'{name}' is not fetched yet: nothing to compare with the data's")
            return
        config = config_of(folder)
        model = str((config.get("architectures") or [""])[0])
        if not model.endswith(kind.head):
            yield _without_head(model, kind.head)
            return
        file = Path(SOURCES["data"][1]) / "train.parquet"
        if not file.is_file():
            yield ok("labels", f"'{file.parent}' is not prepared yet: nothing to compare with the teacher's")
            return
        data = _data_labels(file)
        if data is None:
            yield ok("labels", f"teacher.model is a {model}; {kind.name} have no labels")
        else:
            yield _agree(data, config, file.parent)
    except InputError as error:
        yield fault("labels", str(error))


def changed(setup: Setup) -> Iterator[Finding]:
    """What stages read from outside is what it was when the recipe was last run, as far as this machine tells."""
    stages = {setup.recipe: setup.stages} if setup.recipe else {}
    for recipe in [] if setup.recipe else recipes(setup.graph):
        stages[recipe] = lineage(setup.graph, f"report@{recipe}")
    same = True
    for recipe, needed in stages.items():
        if names := changed_on_disk(setup.root, str(recipe), needed)[0]:
            text = (
                f"what {', '.join(names)} reads has changed on disk since {recipe} was last run; DVC does not follow it"
            )
            same = False
            yield warning("changed", text, f"python -m flows.watch {recipe} runs it again")
    if same:
        yield ok("changed", "no file that stages read from outside is another than in the last run here")


def _without_head(model: str, wanted: str) -> Finding:
    head = head_in(model)
    if head and head not in UNTUNED:
        remedy = "give one of this task, or one that is not fine-tuned"
        return fault("labels", f"teacher.model is a {model}, the task wants a model …{wanted}", remedy)
    return ok("labels", f"teacher.model has no head …{wanted}: it gets one")


def _data_labels(file: Path) -> tuple[str, ...] | None:
    """The label names in order; () for scores, None where rows have no label."""
    try:
        features = Features.from_arrow_schema(parquet.read_schema(file))
    except (ArrowException, OSError) as error:
        raise InputError(f"'{file}' is damaged ({reason(error)}): dvc repro -f prepare") from None
    if "label" not in features:
        return None
    label = getattr(features["label"], "feature", features["label"])  # several of a row are a list of them
    return tuple(label.names) if isinstance(label, ClassLabel) else ()


def _agree(data: tuple[str, ...], config: dict[str, Any], folder: Path) -> Finding:
    """Compare the labels by the rules that a teacher is loaded by."""
    model = names_in(config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"})  # transformers' default, if left out
    count = len(model)
    if not data:
        if count == 1:
            return ok("labels", "scores, and the teacher has one output")
        return fault("labels", f"'{folder}' holds scores, teacher.model has {count} outputs", "give a model of scores")
    order = label_order(data, model)  # raises where the names differ
    same = order == list(range(len(order)))
    if set(model) != set(data):
        return ok("labels", f"the data's {count}; the teacher's have no names, and are taken in this order")
    return ok("labels", f"{', '.join(data)}: the teacher's too" + ("" if same else ", in another order: reordered"))
