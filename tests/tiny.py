"""Tiny models, tokenizers and tasks that the tests share: real files, seconds to train."""

import json
from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from pyarrow import parquet
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertTokenizerFast,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

from tasks.data.schema import KEY

WORDS = [
    *("the", "a", "film", "plot", "actor", "scene", "story", "is", "was", "feels", "looks", "very", "quite", "rather"),
    *("good", "great", "fine", "bad", "dull", "poor", "and", "but", "with", "of", "in", "it", "this", "that"),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer() -> BertTokenizerFast:
    """A WordPiece tokenizer over WORDS."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return BertTokenizerFast(tokenizer_object=core)


def bert(layers: int = 2, width: int = 32, heads: int = 4, labels: tuple[str, ...] = ("bad", "good"), seed: int = 0):
    """A BERT classifier with random weights large enough that its outputs differ from row to row."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        initializer_range=0.2,
        num_labels=max(len(labels), 1),
    )
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: i for i, name in enumerate(labels)}
    return BertForSequenceClassification(config).eval()


def answerer(layers: int = 2, seed: int = 0):
    """A BERT that finds spans, with random weights as large as those of `bert`."""
    config = bert(layers).config
    torch.manual_seed(seed)
    return BertForQuestionAnswering(config).eval()


TAGS = ("B-blame", "B-praise", "B-thing", "I-thing", "O")


def tags_of(text: str) -> list[str]:
    """What each word of a sentence of `sentences` is: praise, blame, or a thing with its article."""
    found: list[str] = []
    for word in text.split(" "):
        if word in ("film", "plot", "actor", "scene", "story"):
            article = bool(found) and found[-1] == "B-thing"
            found.append("I-thing" if article else "B-thing")
        elif word in ("the", "a"):
            found.append("B-thing")
        else:
            good, bad = word in ("good", "great", "fine"), word in ("bad", "dull", "poor")
            found.append("B-praise" if good else "B-blame" if bad else "O")
    return found


def tagger(layers: int = 2, seed: int = 0):
    """A BERT that gives words the labels of TAGS, with random weights as large as those of `bert`."""
    config = bert(layers, labels=TAGS).config
    torch.manual_seed(seed)
    return BertForTokenClassification(config).eval()


def several_labels(layers: int = 2, seed: int = 0):
    """A BERT of the labels good and long, which do not exclude each other."""
    model = bert(layers=layers, labels=("good", "long"), seed=seed)
    model.config.problem_type = "multi_label_classification"
    return model


def roberta(layers: int = 2, **changes) -> RobertaConfig:
    """The shape of a RoBERTa for `tokenizer`, with the labels of `bert`."""
    shape = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 80,
        "pad_token_id": 0,
        "type_vocab_size": 1,
        "id2label": {0: "bad", 1: "good"},
        "label2id": {"bad": 0, "good": 1},
    }
    return RobertaConfig(**(shape | changes))


def save_robertas(folder: Path, **changes) -> None:
    """A masked LM and a teacher of four RoBERTa layers, in FOLDER/models."""
    torch.manual_seed(0)
    save(RobertaForMaskedLM(roberta(4, **changes)), folder / "models/mlm")
    save(RobertaForSequenceClassification(roberta(4, **changes)), folder / "models/teacher")


def other_family(family: str, layers: int = 2, width: int = 32):
    """A classifier of the family roberta or electra, the latter with embeddings narrower than its layers."""
    torch.manual_seed(0)
    shape = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    if family == "roberta":
        return RobertaForSequenceClassification(RobertaConfig(**shape)).eval()
    return ElectraForSequenceClassification(ElectraConfig(**shape, embedding_size=width // 2)).eval()


def sentences(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Sentences whose label (good 1, bad 0) stands in one of their words."""
    generator = torch.Generator().manual_seed(seed)

    def pick(words: list[str]) -> str:
        return words[int(torch.randint(len(words), (), generator=generator))]

    texts, labels = [], []
    for _ in range(count):
        label = int(torch.randint(2, (), generator=generator))
        verdict = pick(["good", "great", "fine"] if label else ["bad", "dull", "poor"])
        filler = [pick(WORDS[:10]) for _ in range(int(torch.randint(1, 8, (), generator=generator)))]
        texts.append(" ".join([*filler, "is", verdict]))
        labels.append(label)
    return texts, labels


def write_task(
    folder: Path,
    train: int = 96,
    validation: int = 32,
    *,
    pair: bool = False,
    regression: bool = False,
    several: bool = False,
    tags: bool = False,
) -> Path:
    """data/task as `tasks.prepare` would write it; several: the labels good, and long for five words and more."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", train, 1), ("validation", validation, 2)):
        texts, labels = sentences(count, seed)
        columns: dict = {"text": texts}
        features: dict = {"text": Value("string")}
        if pair:
            columns["text_pair"] = texts[::-1]
            features["text_pair"] = Value("string")
        columns["label"] = [float(label) for label in labels] if regression else labels
        features["label"] = Value("float32") if regression else ClassLabel(names=["bad", "good"])
        if several:
            marks = [(label, len(text.split()) > 4) for text, label in zip(texts, labels, strict=True)]
            columns["label"] = [[place for place, mark in enumerate(both) if mark] for both in marks]
            features["label"] = List(ClassLabel(names=["good", "long"]))
        if tags:
            columns["label"] = [[TAGS.index(tag) for tag in tags_of(text)] for text in texts]
            features["label"] = List(ClassLabel(names=list(TAGS)))
        Dataset.from_dict(columns, Features(features)).to_parquet(folder / f"{split}.parquet")
        kind = "scores" if regression else "multi-label" if several else "tokens" if tags else "classes"
        state_kind(folder / f"{split}.parquet", kind)
    return folder


def state_kind(file: Path, kind: str) -> None:
    """What `tasks.prepare` writes of the kind of task into a split's schema."""
    table = parquet.read_table(file)
    stated = {**(table.schema.metadata or {}), KEY: json.dumps({"kind": kind}).encode()}
    parquet.write_table(table.replace_schema_metadata(stated), file)


def questions(count: int, seed: int = 0) -> list[dict]:
    """SQuAD's rows: what is said of the film, the plot, …; a third of them asks of what the context does not name."""
    generator = torch.Generator().manual_seed(seed)

    def pick(words: list[str]) -> str:
        return words[int(torch.randint(len(words), (), generator=generator))]

    rows = []
    for number in range(count):
        order = torch.randperm(5, generator=generator).tolist()
        things = [["film", "plot", "actor", "scene", "story"][i] for i in order[:3]]
        said = [f"{pick(['very', 'quite', 'rather'])} {pick(['good', 'bad', 'dull', 'fine'])}" for _ in things]
        context = " and ".join(f"the {thing} is {verdict}" for thing, verdict in zip(things, said, strict=True))
        answers: dict = {"text": [], "answer_start": []}
        asked = ["film", "plot", "actor", "scene", "story"][order[4]]
        if number % 3:
            asked = things[1]
            answers = {"text": [said[1]], "answer_start": [context.index(f"{asked} is") + len(f"{asked} is ")]}
        rows.append({"id": f"{seed}-{number}", "question": f"the {asked} is", "context": context, "answers": answers})
    return rows


def write_questions(folder: Path, train: int = 48, validation: int = 18) -> Path:
    """data/task of the kind answers, as `tasks.prepare` would write it."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", train, 1), ("validation", validation, 2)):
        Dataset.from_list(questions(count, seed)).to_parquet(folder / f"{split}.parquet")
        state_kind(folder / f"{split}.parquet", "answers")
    return folder


def save(model, folder: Path) -> Path:
    """A checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_corpus(folder: Path, count: int = 64) -> Path:
    """data/corpus as `tasks.prepare` would write it."""
    folder.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict({"text": sentences(count, seed=3)[0]}).to_parquet(folder / "corpus.parquet")
    return folder
