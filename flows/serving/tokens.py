"""The served tagger: ONNX and a tokenizer behind MLflow's pyfunc interface, stored as this code and never as a pickle.

MLflow copies this file next to the artifacts and runs it where the model is served: it imports nothing of the project,
so words and windows are cut here again. A test compares its answers with the pipeline's own.

Input: a table with the column `text`, or with `words`, lists of words that the caller has cut; one of the two for all
rows. A row that is neither, or has none, is refused by its number, with the HTTP status 400.
Output: one record a row. Labels that mark entities: {"entities": [{"type", "text", "start", "end", "score"}, …]}, where
start and end are characters of the text (of words, of the text with a space between each two; then "first" and "last"
say which words, from 0). Other labels: {"words": [{"text", "label", "start", "end", "score"}, …]}. A score is the
probability of a word's label; of an entity the mean over its words.
"""

import hashlib
import json
import re
import unicodedata
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from tokenizers import Tokenizer

BATCH = 32  # windows
MOST_ROWS, MOST_CHARACTERS = 10_000, 10_000_000  # of a request
OUTSIDE = "O"
PREFIXED = re.compile(r"([BIESLU])-(.+)")
JOINER = "\u200d"  # makes one emoji of two

Span = tuple[int, int]


class OnnxTagger(PythonModel):
    """Gives each word a label, and says which entities they make."""

    def load_context(self, context: PythonModelContext) -> None:
        """Check the files' digests, read config, tokenizer and numbers, and start the ONNX session."""
        _refuse_changed(context.artifacts, context.model_config["sha256"])
        checkpoint = Path(context.artifacts["checkpoint"])
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        self.labels = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
        prefixed = [label for label in self.labels if PREFIXED.fullmatch(label)]
        self.marks_entities = OUTSIDE in self.labels or len(prefixed) == len(self.labels)
        self.prefixes = bool(prefixed) and self.marks_entities
        self.max_length, self.overlap = context.model_config["max_length"], context.model_config["overlap"]
        self.padding = config.get("pad_token_id") or 0
        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        # The file may hold the settings that the tokenizer was last used with.
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        model = Path(context.artifacts["onnx"]) / "model.onnx"
        options = onnxruntime.SessionOptions()
        # Without VNNI, pairs of int8 products are summed in 16 bits, which overflow: this widens them, at some speed.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.inputs = [entry.name for entry in self.session.get_inputs()]

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None
    ) -> list[dict[str, Any]]:
        """Label every row."""
        rows = _rows(model_input)
        joined = [" ".join(text[start:end] for start, end in spans) for text, spans, _ in rows]
        found = self._labelled(joined)
        return [self._record(text, spans, cut, *said) for (text, spans, cut), said in zip(rows, found, strict=True)]

    def _labelled(self, texts: list[str]) -> list[tuple[list[str], list[float]]]:
        """Label and probability of each word of texts with spaces between their words."""
        windows: list[tuple[int, list[int], list[int]]] = []  # row, ids, words that count at them
        words = [_places(text) for text in texts]
        for row, encoding in enumerate(self.tokenizer.encode_batch(texts)):
            windows += [(row, *window) for window in self._windows(encoding, texts[row], words[row])]
        nothing = OUTSIDE if OUTSIDE in self.labels else self.labels[0]
        found = [([nothing] * len(each), [0.0] * len(each)) for each in words]
        for begin in range(0, len(windows), BATCH):
            batch = windows[begin : begin + BATCH]
            longest = max(len(ids) for _, ids, _ in batch)
            tensors = {
                "input_ids": [[*ids, *[self.padding] * (longest - len(ids))] for _, ids, _ in batch],
                "attention_mask": [[*[1] * len(ids), *[0] * (longest - len(ids))] for _, ids, _ in batch],
                "token_type_ids": [[0] * longest for _ in batch],
            }
            feed = {name: np.asarray(tensors[name], dtype=np.int64) for name in self.inputs}
            logits = self.session.run(["logits"], feed)[0].astype(np.float64)  # (B, L, C)
            shares = np.exp(logits - logits.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            for place, (row, _, own) in enumerate(batch):
                for at, word in enumerate(own):
                    if word >= 0:
                        best = int(shares[place, at].argmax())
                        found[row][0][word], found[row][1][word] = self.labels[best], float(shares[place, at, best])
        return found

    def _windows(self, encoding: Any, text: str, words: list[Span]) -> list[tuple[list[int], list[int]]]:
        """Ids of each window, and at each of them the word that counts there, or -1."""
        inside = [place for place, mark in enumerate(encoding.special_tokens_mask) if not mark]
        if not inside:
            return []
        first, last = inside[0], inside[-1] + 1
        before, after = encoding.ids[:first], encoding.ids[last:]
        ids, offsets = encoding.ids[first:last], encoding.offsets[first:last]
        firsts = _first_pieces(text, words, offsets)
        room = self.max_length - len(before) - len(after)
        begins = [0, *(place for place, word in enumerate(firsts) if word >= 0 and place)]
        cuts = _cuts(len(ids), begins, room, self.overlap)
        made = []
        for number, (start, end) in enumerate(cuts):
            own = [
                word if word >= 0 and _best(cuts, place) == number else -1
                for place, word in enumerate(firsts[start:end], start)
            ]
            made.append(([*before, *ids[start:end], *after], [*[-1] * len(before), *own, *[-1] * len(after)]))
        return made

    def _record(
        self, text: str, spans: list[Span], cut: bool, labels: list[str], scores: list[float]
    ) -> dict[str, Any]:
        """What is answered of one row.

        Args:
            spans: where its words stand in the text.
            cut: whether the caller cut them.
        """
        if not self.marks_entities:
            both = zip(spans, labels, scores, strict=True)
            return {
                "words": [
                    {"text": text[start:end], "label": label, "start": start, "end": end, "score": score}
                    for (start, end), label, score in both
                ]
            }
        found = []
        for kind, first, end in self._entities(labels):
            begin, stop = spans[first][0], spans[end - 1][1]
            score = float(np.mean(scores[first:end]))
            entity = {"type": kind, "text": text[begin:stop], "start": begin, "end": stop, "score": score}
            found.append(entity | ({"first": first, "last": end - 1} if cut else {}))
        return {"entities": found}

    def _entities(self, labels: list[str]) -> list[tuple[str, int, int]]:
        """Type, first word and word behind the last of each entity."""
        entities: list[tuple[str, int, int]] = []
        before = ("", "")
        for place, label in enumerate(labels):
            match = PREFIXED.fullmatch(label) if self.prefixes else None
            prefix, kind = ("", "") if label == OUTSIDE else (match[1], match[2]) if match else ("I", label)
            if kind and (prefix in "BSU" or not before[1] or before[0] in ("E", "S", "L", "U") or before[1] != kind):
                entities.append((kind, place, place + 1))
            elif kind:
                entities[-1] = (kind, entities[-1][1], place + 1)
            before = prefix, kind
        return entities


def _rows(table: pd.DataFrame) -> list[tuple[str, list[Span], bool]]:
    """Of each row its text, where its words stand in it, and whether the caller cut them.

    Raises:
        MlflowException: a row has neither text nor words, or there is too much: answered with HTTP 400.
    """
    if not {"text", "words"} & set(table.columns):
        raise _refused(f"column 'text' (or 'words') is missing: the input has {list(table.columns)}"[:300])
    if len(table) > MOST_ROWS:
        raise _refused(f"{len(table):,} rows: send {MOST_ROWS:,} at a time")
    columns = [table[name].tolist() if name in table.columns else [None] * len(table) for name in ("text", "words")]
    rows, characters = [], 0
    for number, (text, words) in enumerate(zip(*columns, strict=True), start=1):
        if isinstance(words, list | tuple | np.ndarray):
            words = list(words)
            bad = [word for word in words if not isinstance(word, str) or not word or re.search(r"[ \t\r\n\f\v]", word)]
            if not words or bad:
                given = f"has {bad[0]!r:.60} among its words: give text without white space" if bad else "has no words"
                raise _refused(f"row {number}: {given}")
            text = " ".join(words)
            rows.append((text, _places(text), True))
        elif isinstance(text, str) and text.strip():
            rows.append((text, _split_words(text), False))
        else:
            given = "is missing" if text is None or text != text else f"is {text!r:.60}"
            raise _refused(f"row {number}: column 'text' {given}: give text, or a list of words in 'words'")
        characters += len(rows[-1][0])
    if characters > MOST_CHARACTERS:
        raise _refused(f"more than {MOST_CHARACTERS:,} characters: send fewer rows at a time")
    return rows


def _refused(why: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(why)


def _places(text: str) -> list[Span]:
    """Where the words of a text stand that have a space between each two."""
    spans, at = [], 0
    for word in text.split(" "):
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return spans


def _split_words(text: str) -> list[Span]:
    """Where the words of a text stand: runs of letters and digits, and every other sign by itself."""
    spans: list[Span] = []
    letters = False  # whether the last word is of letters
    for place, sign in enumerate(text):
        if sign.isspace():
            continue
        letter = sign.isalnum() or sign == "_"
        touches = bool(spans) and spans[-1][1] == place
        modifies = unicodedata.category(sign)[0] == "M" or sign == JOINER
        if touches and (modifies or text[place - 1] == JOINER or (letters and letter)):
            spans[-1] = (spans[-1][0], place + 1)
            continue
        spans.append((place, place + 1))
        letters = letter
    return spans


def _first_pieces(text: str, words: list[Span], offsets: list[Span]) -> list[int]:
    """For each token the word that it is the first piece of, or -1."""
    starts = [start for start, _ in words]
    found, last = [], -1
    for start, end in offsets:
        while start < end and text[start].isspace():
            start += 1
        word = bisect_right(starts, start) - 1
        inside = start < end and word >= 0 and start < words[word][1]
        found.append(word if inside and word != last else -1)
        last = word if inside else last
    return found


def _cuts(tokens: int, begins: list[int], room: int, overlap: int) -> list[Span]:
    """From … to before … of each window: whole words, but where one fills a window."""
    windows: list[Span] = []
    start = 0
    while start < tokens:
        end = start + room
        if end >= tokens:
            return [*windows, (start, tokens)]
        cut = begins[bisect_right(begins, end) - 1]
        end = cut if cut > start else end
        windows.append((start, end))
        back = begins[bisect_right(begins, end - overlap) - 1]
        following = bisect_right(begins, end - 1)
        start = back if back > start else begins[following] if following < len(begins) else tokens
    return windows


def _best(windows: list[Span], place: int) -> int:
    """The window that shows the most around a token."""

    def shown(window: Span) -> float:
        start, end = window
        if not start <= place < end:
            return -1.0
        left = float("inf") if start == 0 else place - start
        right = float("inf") if end == windows[-1][1] else end - 1 - place
        return min(left, right)

    return max(range(len(windows)), key=lambda number: shown(windows[number]))


def _refuse_changed(artifacts: dict[str, str], digests: dict[str, str]) -> None:
    """Raise for a file that is not what was registered, before anything of it is read."""
    for name, wanted in digests.items():
        part, _, file = name.partition("/")
        path = Path(artifacts[part]) / file
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != wanted:
            raise ValueError(f"'{path}' has sha256 {found[:16]}…, registered was {wanted[:16]}…: do not use it")


set_model(OnnxTagger())
