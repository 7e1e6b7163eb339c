"""Augmentation beside the way that TinyBERT's published script has: a forward pass for each word, by itself.

    python -m benchmarks.augmentation --data sst2/train.tsv --rounds 5

All make copies of the same sentences with the same masked LM, the built-in encoder under a head that nobody has
trained, and take turns; medians are compared.

the script's way    the sentence with a word masked, and the sentence itself after it; the vocabulary's logits at all
                    places, sorted; of every content word, whether a copy uses it or not. Written anew here
a pass a word       the same without the second sentence: the copies are those of `stillhouse, fp32`
stillhouse, fp32    as stage `augment` does it: words that a copy uses, in batches of like length, logits at one place
stillhouse, bf16    the same with products in bf16, `train.precision: auto` where the hardware has it
"""

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.onnx.latency import hardware
from stillhouse.text.candidates import Candidates
from stillhouse.text.likely_words import Place, Texts, replace_with_likely_words
from stillhouse.text.word_vectors import EmbeddingVectors
from stillhouse.text.words import content_word_spans
from stillhouse.training.autocast import bf16_hardware
from tasks.phases.teacher import teacher_source

SCRIPT, ALONE, OURS, BF16 = "the script's way", "a pass a word", "stillhouse, fp32", "stillhouse, bf16"
Copies = list[list[Texts]]


def main() -> None:
    args = arguments()
    model, tokenizer = masked_lm(args.teacher)
    find = finder(model, tokenizer, args)
    texts = read_texts(args.data, args.sentences)
    ways: dict[str, Callable[[], Copies]] = {
        SCRIPT: lambda: word_by_word(OneByOne(find, pair=True), texts, args),
        ALONE: lambda: word_by_word(OneByOne(find), texts, args),
        OURS: lambda: batched(find, texts, args),
    }
    if bf16_hardware():
        quick = finder(model, tokenizer, args, precision="bf16")
        ways[BF16] = lambda: batched(quick, texts, args)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    made: dict[str, Copies] = {}
    for turn in range(args.rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            made[name] = way()
            seconds[name].append(time.perf_counter() - began)
            rate = len(texts) / seconds[name][-1]
            print(f"round {turn + 1}/{args.rounds}  {name:18} {rate:8.1f} sentences/s", flush=True)
    rates = {name: len(texts) / statistics.median(found) for name, found in seconds.items()}
    words = sum(len(content_word_spans(text)) for text in texts)
    print(f"{len(texts)} sentences, {words} content words, {sum(map(len, made[OURS]))} copies")
    print(f"{hardware()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, rate in rates.items():
        same = alike(made[name], made[OURS])
        print(f"{name:18} {rate:8.1f} sentences/s  {rate / rates[SCRIPT]:5.1f}x  {same:4.0%} copied as {OURS} does")
    if args.out:
        told = {"sentences_per_second": rates, "seconds": seconds, "sentences": len(texts), "words": words}
        told |= {"threads": torch.get_num_threads(), "hardware": hardware(), "date": time.strftime("%Y-%m-%d")}
        args.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="TSV with a header: text (or sentence)")
    parser.add_argument(
        "--teacher", help="a checkpoint, or a name as in params.yaml; default: builtin", default="builtin"
    )
    parser.add_argument("--sentences", type=int, default=60)
    parser.add_argument("--copies", type=int, default=20, help="N_a; default: 20")
    parser.add_argument("--candidates", type=int, default=15, help="K; default: 15")
    parser.add_argument("--replace", type=float, default=0.4, help="p_t; default: 0.4")
    parser.add_argument("--batch-size", type=int, default=64, help="masked sentences of a forward pass; default: 64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file for the rates")
    return parser.parse_args()


def masked_lm(teacher: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder under a head of random weights: what it says does not matter here, how long it takes does."""
    source = teacher_source(teacher)
    torch.manual_seed(0)
    return load_model(source, AutoModelForMaskedLM).eval(), load_tokenizer(source)


def read_texts(file: Path, count: int) -> list[str]:
    """The first sentences of a TSV file."""
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))[:count]
    return [row.get("text") or row["sentence"] for row in rows]


def finder(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    args: argparse.Namespace,
    *,
    precision: str = "fp32",
    max_length: int = 128,
) -> Candidates:
    """What finds candidates, with word vectors for words of several pieces. Made once, as the stage makes it."""
    return Candidates(
        model,
        tokenizer,
        EmbeddingVectors(model, tokenizer),
        count=args.candidates,
        batch_size=args.batch_size,
        max_length=max_length,
        precision=precision,
    )


def batched(candidates: Candidates, texts: list[str], args: argparse.Namespace) -> Copies:
    """As stage `augment` does."""
    rows = [(row, (text,)) for row, text in enumerate(texts)]
    return replace_with_likely_words(rows, candidates.find, copies=args.copies, replace=args.replace, seed=1)


def word_by_word(one: "OneByOne", texts: list[str], args: argparse.Namespace) -> Copies:
    """A sentence at a time: the candidates of all its words, then its copies."""
    made: Copies = []
    for row, text in enumerate(texts):
        known = {(text, *span): one.find((text, *span)) for span in content_word_spans(text)}
        made += replace_with_likely_words(
            [(row, (text,))],
            lambda places, known=known: [known[place] for place in places],  # type: ignore[misc]
            copies=args.copies,
            replace=args.replace,
            seed=1,
        )
    return made


class OneByOne:
    """Finds the candidates of one word: its sentence alone in a batch, logits of the vocabulary at all places.

    Args:
        same: whose model, vectors and rules it has.
        pair: the whole sentence stands beside the masked one, and all of the vocabulary is sorted.
    """

    def __init__(self, same: Candidates, *, pair: bool = False) -> None:
        self.same = same
        self.pair = pair

    @torch.inference_mode()
    def find(self, place: Place) -> list[str]:
        text, start, end = place
        same = self.same
        tokens = same.tokenizer(text, text if self.pair else None, return_offsets_mapping=True, return_tensors="pt")
        offsets = tokens.pop("offset_mapping")[0].tolist()
        pieces = [at for at, (first, last) in enumerate(offsets) if start <= first < last <= end]
        pieces = pieces[: len(pieces) // 2] if self.pair else pieces
        if len(pieces) > 1:
            return same.vectors.nearest([text[start:end]], same.count)[0]
        own = int(tokens["input_ids"][0, pieces[0]])
        tokens["input_ids"][0, pieces[0]] = same.tokenizer.mask_token_id
        logits = same.model(**tokens).logits[0]  # (L, V)
        scores = logits[pieces[0]].masked_fill(same.barred, -torch.inf)
        scores[own] = -torch.inf
        ranked = scores.argsort(descending=True) if self.pair else scores.topk(same.count + 1).indices
        best = ranked[: same.count + 1].tolist()
        kept = [i for i in best if same.lower[i] != text[start:end].lower()][: same.count]
        return [same.words[i] for i in sorted(kept)]


def alike(ones: Copies, others: Copies) -> float:
    """Share of the sentences whose copies are the same."""
    return sum(one == other for one, other in zip(ones, others, strict=True)) / len(ones)


if __name__ == "__main__":
    main()
