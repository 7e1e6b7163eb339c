"""Load and save Hugging Face checkpoints: safetensors only, no remote code, clear words for a damaged file."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError, StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.errors import InputError

PICKLES = ("pytorch_model.bin", "model.bin", "model.pt", "model.ckpt", "model.pkl")

# Of other tasks, or of pretraining: that a checkpoint has them says nothing of its encoder.
HEADS = (
    *("cls.", "classifier.", "qa_outputs.", "lm_head.", "pooler.", "bert.pooler.", "roberta.pooler.", "generator_"),
    *("discriminator_predictions.", "pre_classifier.", "vocab_", "lm_predictions.", "mask_predictions."),
    *("predictions.", "sop_classifier.", "head.", "decoder."),
)


# What transformers raises, wherever it first meets it, for a config.json with values of another type, or of 0.
NONSENSE = (AttributeError, TypeError, ArithmeticError, StrictDataclassError)


def load_model(source: str | Path, auto: type, *, whole: bool = False, **options: object) -> PreTrainedModel:
    """Load a checkpoint, in fp32 and eval mode. Weights that it has and the model does not use are named in a line.

    Args:
        source: a local folder, or a hub id.
        auto: an Auto class, such as `AutoModelForSequenceClassification`.
        whole: it must have weights for all of the model; else a head or a pooler may be new, for training.
        options: passed on, such as `num_labels`.

    Raises:
        InputError: no such folder, pickled weights, a damaged or truncated file, weights that are missing, an unknown
            architecture, or one that brings code of its own.
        ConnectionError: the hub cannot be reached, and the checkpoint was not fetched before.
    """
    folder = _local(source)
    try:
        model, report = auto.from_pretrained(  # type: ignore[attr-defined]
            source,
            use_safetensors=True,
            trust_remote_code=False,
            dtype="float32",
            output_loading_info=True,
            **options,
        )
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"'{source}': damaged weights or config ({error}): fetch the checkpoint again") from None
    except (OSError, ValueError, LookupError, ImportError, *NONSENSE) as error:
        _raise_if_away(source, error)
        if "custom code" in str(error):
            raise InputError(
                f"'{source}' brings code of its own (auto_map in its config.json), which is never run: "
                "give a checkpoint of an architecture that transformers knows"
            ) from None
        where = "" if folder else " (neither a local folder nor a readable hub id)"
        raise InputError(f"'{source}'{where}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    except RuntimeError as error:
        if "ignore_mismatched_sizes" in str(error):
            raise InputError(f"'{source}': its weights do not have the shapes that its config.json states") from None
        # Of a size below 0, or beyond the memory.
        said = " ".join(str(error).split())[:300]
        raise InputError(f"'{source}': a model as its config.json states it cannot be made ({said})") from None
    _check_weights(source, model, report, whole)
    return model.eval()


def _check_weights(source: str | Path, model: PreTrainedModel, report: dict[str, Any], whole: bool) -> None:
    """Raise where transformers has filled in random numbers for weights that no training here would put right."""
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    missing = sorted(map(str, report["missing_keys"]))
    encoder = [name for name in missing if name.startswith(prefix)]
    needed = [name for name in encoder if whole or not name.removeprefix(prefix).startswith("pooler.")]
    lacking = missing if whole else needed
    unused = sorted(name for name in map(str, report["unexpected_keys"]) if not name.startswith(HEADS))
    if lacking:
        raise InputError(
            f"'{source}': {len(lacking)} weights are missing, such as {lacking[0]}"
            + (f", and it has {len(unused)} others, such as {unused[0]}" if unused else "")
            + ": it is damaged, or was saved under other names: save it with save_pretrained"
        )
    if unused:
        print(f"'{source}': {len(unused)} weights are not used, such as {unused[0]}", flush=True)


def head_in(name: str) -> str:
    """What a model's class is for: SequenceClassification of BertForSequenceClassification, "" of an encoder's."""
    return name.rpartition("For")[2] if "For" in name else ""  # the last one: there is a RoFormer


def architecture(folder: Path) -> str:
    """The class that a local checkpoint was saved from, such as `BertForSequenceClassification`.

    Raises:
        InputError: no such checkpoint, or a damaged config.
    """
    _local(folder)
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures")
    except (ValueError, AttributeError, RecursionError) as error:  # no JSON, no UTF-8, or no mapping
        raise InputError(f"'{folder}': damaged config.json ({error})") from None
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise InputError(f"'{folder}': config.json names no architecture: save it with save_pretrained")
    return names[0]


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """Load a checkpoint's fast tokenizer.

    Raises:
        InputError: it has none, or it cannot be read.
        ConnectionError: as `load_model`.
    """
    _local(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - tokenizers raises bare Exception for a damaged tokenizer.json
        _raise_if_away(source, error)
        raise InputError(f"'{source}': no usable tokenizer: {' '.join(str(error).split())[:300]}") from None
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError(f"'{source}': no usable tokenizer: it knows no word, its tokenizer.json is missing")
    if not tokenizer.is_fast:
        raise InputError(f"'{source}': only fast tokenizers (tokenizer.json) are supported")
    return tokenizer


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer into `folder`."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, in order."""
    return sorted(folder.glob("*.safetensors"))


def same_vocabulary(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers give every text the same ids, as far as their vocabularies tell."""
    return one.get_vocab() == other.get_vocab()


def _raise_if_away(source: str | Path, error: BaseException | None) -> None:
    """Tell a hub that is away, which may pass, from a name that is wrong; transformers says both as an OSError."""
    while error is not None and not constants.HF_HUB_OFFLINE:
        if isinstance(error, LocalEntryNotFoundError):
            raise ConnectionError(f"'{source}': the hub cannot be reached, and it was not fetched before") from None
        error = error.__cause__ or error.__context__


def _local(source: str | Path) -> Path | None:
    folder = Path(source)
    looks_local = isinstance(source, Path) or folder.exists() or str(source).startswith((".", "/", "models/"))
    if not looks_local:
        return None
    if not folder.is_dir():
        raise InputError(f"'{source}': no such checkpoint folder: run the stage that makes it")
    if not (folder / "config.json").is_file():
        raise InputError(f"'{source}': config.json is missing: not a Hugging Face checkpoint")
    if not weight_files(folder):
        pickled = [name for name in PICKLES if (folder / name).exists()]
        if pickled:
            raise InputError(
                f"'{source}': {pickled[0]} is a pickle, which can run code when loaded: "
                "convert it to model.safetensors first"
            )
        raise InputError(f"'{source}': model.safetensors is missing")
    _check_index(folder)
    return folder


def _check_index(folder: Path) -> None:
    """Weights in several files are named by an index: by names of safetensors files in its folder, and nothing else."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"'{index}': damaged index ({error!r}): fetch the checkpoint again") from None
    for name in sorted(map(str, names)):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"'{index}' names '{name}', which is no safetensors file in its folder: it is not read")
