"""MSE with augmentation > MSE alone > BiLSTM on hard labels (Tang 2019, tables 1 and 2).

The augmentation needs textblob, for its English lexicon.
"""

from torch import nn
from transformers import set_seed

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.methods.bilstm import distillation_loss, piece_vectors, start_from
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm import BiLstmForSequenceClassification
from stillhouse.text.word_classes import count_classes, replace_by_word_class
from stillhouse.text.word_tokenizer import word_tokenizer
from stillhouse.training.batches import Batch, model_inputs

ROUNDS = 4  # 20 in the paper
EPOCHS = 10.0


def hard(lab: Lab, seed: int) -> list[int]:
    return run(lab, seed, alpha=1.0, texts=lab.train_texts)


def squared(lab: Lab, seed: int) -> list[int]:
    return run(lab, seed, alpha=0.0, texts=lab.train_texts)


def augmented(lab: Lab, seed: int) -> list[int]:
    return run(lab, seed, alpha=0.0, texts=copies(lab))


def run(lab: Lab, seed: int, alpha: float, texts: list[str]) -> list[int]:
    """Every variant takes as many steps, and starts from the teacher's word vectors."""
    tokenizer = word_tokenizer(lab.train_texts, size=20_000, least=2, mask=lab.tokenizer.mask_token)
    set_seed(seed)
    config = BiLstmConfig(
        vocab_size=len(tokenizer), embedding_size=384, hidden_size=150, dense_size=200, pair=False, dropout=0.2,
        pad_token_id=tokenizer.pad_token_id, num_labels=2, problem_type="single_label_classification",
    )  # fmt: skip
    student = BiLstmForSequenceClassification(config)
    words = [word for word in tokenizer.get_vocab() if word not in tokenizer.all_special_tokens]
    start_from(student.embeddings, tokenizer.get_vocab(), piece_vectors(words, lab.teacher(), lab.tokenizer))
    labels = lab.train_labels if len(texts) == len(lab.train_texts) else [0] * len(texts)  # α = 0 reads none
    logits = lab.logits(lab.teacher(), lab.tokenize(texts, None))
    rows = lab.tokenize(texts, labels, tokenizer).with_column("teacher_logits", logits)

    def step(model: nn.Module, batch: Batch) -> dict:
        return distillation_loss(model(**model_inputs(batch)).logits, batch["teacher_logits"], batch["labels"], alpha)

    epochs = EPOCHS * len(lab.train_texts) / len(texts)
    lab.fit(student, step, rows, seed=seed, tokenizer=tokenizer, learning_rate=1e-3, epochs=epochs)
    return lab.predictions(student, tokenizer)


def copies(lab: Lab) -> list[str]:
    """The training texts and their altered copies, none twice."""
    # Not at the top: the other variants need torch and transformers alone.
    from tasks.data.part_of_speech import tag

    classes = count_classes(lab.train_texts, tag)
    found = dict.fromkeys(lab.train_texts)
    for index, text in enumerate(lab.train_texts):
        altered = replace_by_word_class(
            (text,), tag, classes, rounds=ROUNDS, mask=0.1, same_class=0.1, ngram=0.25, longest=5,
            mask_token=lab.tokenizer.mask_token, seed=(1, index),
        )  # fmt: skip
        found |= dict.fromkeys(copy for (copy,) in altered)
    return list(found)


CLAIM = Claim(
    "bilstm",
    "MSE + augmentation > MSE alone > hard labels",
    {"MSE + augmentation": augmented, "MSE": squared, "hard labels": hard},
    [Relation("MSE + augmentation", "MSE"), Relation("MSE", "hard labels")],
)
