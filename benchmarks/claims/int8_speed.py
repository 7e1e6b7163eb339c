"""int8 is faster than fp32 on this hardware: each judged row by itself, ONNX Runtime, one thread.

The models take turns at every sentence, so that a busy machine slows all of them alike.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path

from benchmarks.claims import Claim, Relation, as_given
from benchmarks.claims.int8 import DYNAMIC, STATIC, WHOLE, dynamic, static, whole
from benchmarks.lab import Lab
from stillhouse.training.batches import collate

MODELS = {WHOLE: whole, DYNAMIC: dynamic, STATIC: static}


def variant(name: str) -> Callable[[Lab, int], list[float]]:
    return partial(speeds, name)


def speeds(name: str, lab: Lab, seed: int) -> list[float]:
    """Sentences a second, of each sentence."""
    seconds = lab.outcome(f"int8-speed/seconds-{seed}", partial(timed, lab, seed))
    return (1 / seconds.reshape(len(MODELS), -1)[list(MODELS).index(name)]).tolist()


def timed(lab: Lab, seed: int) -> list[float]:
    """Seconds of every sentence, of one model after the other."""
    # Not at the top: the other checks need torch and transformers alone.
    from stillhouse.onnx.export import export_onnx
    from stillhouse.onnx.latency import time_in_turns
    from stillhouse.onnx.sessions import feed, open_session

    sentences = [collate([row], lab.tokenizer.pad_token_id) for row in lab.tokenize(lab.texts, None)]
    calls = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in MODELS.items():
            file = Path(folder) / f"{len(calls)}.onnx"
            export_onnx(make(lab, seed), lab.tokenizer, file)
            session = open_session(file, threads=1)
            given = cycle([feed(session, {key: x.numpy() for key, x in each.items()}) for each in sentences])
            calls[name] = lambda session=session, given=given: session.run(None, next(given))
        found = time_in_turns(calls, len(sentences))
    return [second for name in MODELS for second in found[name].tolist()]


CLAIM = Claim(
    "int8-speed",
    "int8 is faster than fp32",
    {name: variant(name) for name in MODELS},
    [Relation(DYNAMIC, WHOLE), Relation(STATIC, WHOLE), Relation(STATIC, DYNAMIC)],
    score=as_given,
    measure="sentences/s, ONNX Runtime, 1 thread, batch 1",
)
