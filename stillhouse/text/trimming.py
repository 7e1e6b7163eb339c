"""A tokenizer with some of its pieces: the others go, and what is left is numbered anew, in the same order.

A text whose pieces all stay is cut as before, each piece for its own reason:

    WordPiece   takes the longest piece that fits, from the left; the longest of all is the longest of fewer
    BPE         merges the pair of the lowest rank first; every merge on the way to a piece that stays, stays too
    Unigram     takes the path of the highest score; scores stay, and a path that beats all beats fewer

Any other text can be cut too, for characters and bytes that are pieces stay, and so do pieces of WordPiece and Unigram
that hold a character which is no piece. Only around such characters may a word change between known and unknown.
"""

import json
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from stillhouse.errors import InputError

KINDS = ("WordPiece", "BPE", "Unigram")
BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")  # how a tokenizer with a byte fallback calls the bytes


def needed_pieces(tokenizer: PreTrainedTokenizerBase, wanted: Iterable[int]) -> list[int]:
    """The pieces that must stay so that some do and every text can be cut, by id, in order.

    Args:
        tokenizer: of WordPiece, BPE or Unigram.
        wanted: ids of pieces that are to stay.

    Returns:
        Those, the special and other added tokens, characters and bytes, and what the module's text says of each kind.

    Raises:
        InputError: a tokenizer of another kind.
    """
    tree = _tree(tokenizer)
    model = tree["model"]
    ids = _vocabulary(tree)
    names = {number: piece for piece, number in ids.items()}
    stay = {*wanted, *tokenizer.all_special_ids, *(token["id"] for token in tree["added_tokens"])}
    stay |= {*_processor_ids(tree["post_processor"]), *([tree["padding"]["pad_id"]] if tree["padding"] else [])}
    unknown = ids.get(model["unk_token"]) if model.get("unk_token") else model.get("unk_id")
    stay |= set() if unknown is None else {unknown}
    stay |= {number for piece, number in ids.items() if BYTE.fullmatch(piece)}
    single = {"WordPiece": _letters_of_words, "BPE": _symbols, "Unigram": lambda piece, _: list(piece)}[model["type"]]
    parts = {number: single(piece, model) for piece, number in ids.items()}
    stay |= {number for number, letters in parts.items() if len(letters) == 1}
    if model["type"] == "BPE":
        ranks = {tuple(merge): rank for rank, merge in enumerate(model["merges"])}
        joined = _joined(model)
        for number in [number for number in stay if number in names]:
            stay |= {ids[piece] for piece in _path(names[number], parts[number], ranks, joined) if piece in ids}
    elif not model.get("byte_fallback"):
        stay |= {number for number, letters in parts.items() if not all(letter in ids for letter in letters)}
    if model["type"] == "Unigram":
        # An unknown character's score is the lowest of all, less a constant: it must not move.
        stay.add(min(range(len(model["vocab"])), key=lambda number: model["vocab"][number][1]))
    return sorted(stay)


def first_pieces(tokenizer: PreTrainedTokenizerBase, count: int) -> list[int]:
    """The first pieces of a tokenizer besides those that always stay, by id, in order; all, where there are fewer.

    A tokenizer that was trained has its pieces in the order of how common they were in its own text: WordPiece and BPE
    as they were joined, Unigram by their score. WordPiece's that no text can have, such as [unused1], are not counted.

    Args:
        tokenizer: of WordPiece, BPE or Unigram.
        count: how many.

    Raises:
        InputError: a tokenizer of another kind.
    """
    if not count:
        return []
    tree = _tree(tokenizer)
    always = set(needed_pieces(tokenizer, ()))
    others = sorted((number, piece) for piece, number in _vocabulary(tree).items() if number not in always)
    if tree["model"]["type"] == "WordPiece" and (cutter := tokenizer.backend_tokenizer.pre_tokenizer) is not None:
        mark = tree["model"]["continuing_subword_prefix"]
        others = [each for each in others if len(cutter.pre_tokenize_str(each[1].removeprefix(mark))) == 1]
    return [number for number, _ in others[:count]]


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, keep: Sequence[int]) -> PreTrainedTokenizerBase:
    """The tokenizer with some of its pieces, of the same class and settings; piece keep[i] has the id i.

    Args:
        tokenizer: left as it is.
        keep: what `needed_pieces` gives.

    Raises:
        InputError: a tokenizer of another kind, or one whose class does not take the pieces as they are numbered here;
            or pieces that are not in order, are not there, or lack one that is needed.
    """
    check_pieces(keep, needed_pieces(tokenizer, keep), tokenizer)
    new = {old: number for number, old in enumerate(keep)}
    wanted = _trimmed(_tree(tokenizer), new)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        for file in folder.iterdir():
            # Other files hold the whole vocabulary: a class that finds them would take it from there.
            if file.name not in ("tokenizer.json", "tokenizer_config.json"):
                file.unlink()
        (folder / "tokenizer.json").write_text(json.dumps(wanted, ensure_ascii=False), encoding="utf-8")
        small = type(tokenizer).from_pretrained(folder)
    small.name_or_path = tokenizer.name_or_path
    made = _tree(small)
    expected = {piece: new[old] for piece, old in tokenizer.get_vocab().items() if old in new}
    if small.get_vocab() != expected or any(made[part] != wanted[part] for part in ("model", "post_processor")):
        raise InputError(
            f"'{tokenizer.name_or_path}': its class {type(tokenizer).__name__} does not take a part of its own "
            "pieces: save it as a PreTrainedTokenizerFast"
        )
    return small


def kind_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """What kind a tokenizer is of: one of `KINDS`, or another, whose pieces cannot be trimmed."""
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"]


def check_pieces(keep: Sequence[int], needed: Collection[int], tokenizer: PreTrainedTokenizerBase) -> None:
    """Whether pieces are in order and what is needed is among them.

    Raises:
        InputError: they are not.
    """
    if list(keep) != sorted(set(keep)):
        raise InputError("pieces that stay: an id is named twice, or they are not in order: sort them")
    missing = sorted(set(needed) - set(keep))
    if missing:
        named = tokenizer.convert_ids_to_tokens(missing[:5])
        raise InputError(f"pieces that stay: {len(missing)} that are needed are missing, such as {named}: add them")
    outside = sorted(set(keep) - set(tokenizer.get_vocab().values()))
    if outside:
        raise InputError(f"pieces that stay: {outside[:5]} are no ids of the tokenizer: leave them out")


def _tree(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What tokenizer.json would hold.

    Raises:
        InputError: a tokenizer of a kind that is not known here.
    """
    tree = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = tree["model"]["type"]
    if kind not in KINDS:
        raise InputError(
            f"'{tokenizer.name_or_path}' has a {kind} tokenizer: its pieces cannot be trimmed, "
            f"give a model with one of {', '.join(KINDS)}"
        )
    return tree


def _vocabulary(tree: dict[str, Any]) -> dict[str, int]:
    vocabulary = tree["model"]["vocab"]
    if isinstance(vocabulary, dict):
        return vocabulary
    return {piece: number for number, (piece, _) in enumerate(vocabulary)}


def _letters_of_words(piece: str, model: dict[str, Any]) -> list[str]:
    """The pieces of one letter each for the text of a piece of WordPiece: of ##ing, ##i, ##n, ##g."""
    mark = model["continuing_subword_prefix"]
    if piece.startswith(mark) and piece != mark:
        return [f"{mark}{letter}" for letter in piece.removeprefix(mark)]
    return [piece[:1], *(f"{mark}{letter}" for letter in piece[1:])]


def _symbols(piece: str, model: dict[str, Any]) -> list[str]:
    """What BPE begins with to make a piece: its letters, with the marks that the model puts before or behind some."""
    mark, end = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    inner = bool(mark) and piece.startswith(mark) and piece != mark
    last = bool(end) and piece.endswith(end) and piece != end
    letters = list(piece.removeprefix(mark if inner else "").removesuffix(end if last else ""))
    symbols = [f"{mark}{letter}" if inner or place else letter for place, letter in enumerate(letters)]
    return [*symbols[:-1], symbols[-1] + end] if last else symbols


def _joined(model: dict[str, Any]) -> Callable[[str, str], str]:
    mark = model.get("continuing_subword_prefix") or ""
    return lambda one, other: one + other.removeprefix(mark)


def _path(
    piece: str, symbols: list[str], ranks: dict[tuple[str, ...], int], joined: Callable[[str, str], str]
) -> Iterator[str]:
    """All that BPE has in its hands on the way to a piece; nothing if no merges lead to it, so that no text has it.

    Within a longer word the way is the same: where pieces meet in the end, no merge has crossed before.
    """
    seen = list(symbols)
    while len(symbols) > 1:
        rank, place = min(
            (ranks.get((one, other), len(ranks)), place) for place, (one, other) in enumerate(pairwise(symbols))
        )
        if rank == len(ranks):
            break
        symbols = [*symbols[:place], joined(symbols[place], symbols[place + 1]), *symbols[place + 2 :]]
        seen.append(symbols[place])
    if symbols == [piece]:
        yield from seen


def _trimmed(tree: dict[str, Any], new: dict[int, int]) -> dict[str, Any]:
    """tokenizer.json with the pieces that have a new id, under that."""
    model = dict(tree["model"])
    old = _vocabulary(tree)
    if model["type"] == "Unigram":
        model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in new]
        model["unk_id"] = None if model["unk_id"] is None else new[model["unk_id"]]
    else:
        left = sorted((new[number], piece) for piece, number in old.items() if number in new)
        model["vocab"] = {piece: number for number, piece in left}
    if model["type"] == "BPE":
        joined = _joined(model)
        model["merges"] = [
            merge
            for merge in model["merges"]
            if merge[0] in model["vocab"] and merge[1] in model["vocab"] and joined(*merge) in model["vocab"]
        ]
    added = [token | {"id": new[token["id"]]} for token in tree["added_tokens"]]
    padding = tree["padding"] and tree["padding"] | {"pad_id": new[tree["padding"]["pad_id"]]}
    changed = {"model": model, "added_tokens": added, "padding": padding}
    return tree | changed | {"post_processor": _processor(tree["post_processor"], new)}


def _processor_ids(tree: dict[str, Any] | None) -> Iterator[int]:
    """The ids that `_processor` renumbers."""
    for each in (tree or {}).get("processors", []):
        yield from _processor_ids(each)
    yield from (tree[name][1] for name in ("cls", "sep") if tree and name in tree)
    for token in (tree or {}).get("special_tokens", {}).values():
        yield from token["ids"]


def _processor(tree: dict[str, Any] | None, new: dict[int, int]) -> dict[str, Any] | None:
    """The part that adds [CLS] and its like, which knows them by id."""
    if tree is None:
        return None
    changed = dict(tree)
    if "processors" in tree:
        changed["processors"] = [_processor(each, new) for each in tree["processors"]]
    for name in ("cls", "sep"):
        if name in tree:
            changed[name] = [tree[name][0], new[tree[name][1]]]
    if "special_tokens" in tree:
        changed["special_tokens"] = {
            name: token | {"ids": [new[number] for number in token["ids"]]}
            for name, token in tree["special_tokens"].items()
        }
    return changed
