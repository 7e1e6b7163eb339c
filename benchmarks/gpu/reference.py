"""The work of docs/results/throughput.md: TextBrewer and Stillhouse, an epoch each by turns; then one step."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from types import SimpleNamespace

from benchmarks import throughput
from benchmarks.gpu import scene
from benchmarks.gpu.bare import Training, measured, operations, with_share
from benchmarks.gpu.setting import Row, Setting, textbrewer_lacks
from stillhouse.training.attention import quick_attention
from stillhouse.training.batches import collate

LENGTHS = [5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 22, 25]  # 13.4 in the mean; SST-2's are 13.3
TOKENIZER = SimpleNamespace(pad_token_id=0, all_special_ids=[0, 1, 2, 3, 4])


def measure(setting: Setting) -> list[Row]:
    """A row a contender, through its own loop; then Stillhouse's step by itself."""
    lacking = textbrewer_lacks()
    names = ["stillhouse"] if lacking else ["textbrewer-128", "textbrewer", "stillhouse"]
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(1 if setting.tiny else 3):
        for name in names:
            # A process each, as in `benchmarks.throughput`: what one sets for its process is none of the other's.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rates[name].append(pool.submit(rate, name, setting).result())
    rows: list[Row] = [{"what": name, "samples/s": round(median(found), 1)} for name, found in rates.items()]
    if lacking:
        rows.append({"what": f"textbrewer: {lacking}"})
    return [*rows, one_step(setting)]


def rate(name: str, setting: Setting) -> float:
    """Samples/s of a contender over an epoch, after one that does not count."""
    teacher = scene.classifier(shape(setting), dropout=0.1)
    rows = scene.rows(64 if setting.tiny else 1600, LENGTHS, shape(setting).vocabulary, columns=False)
    contender = throughput.CONTENDERS[name]
    contender(teacher, rows, TOKENIZER)  # type: ignore[arg-type]
    return len(rows) / contender(teacher, rows, TOKENIZER)  # type: ignore[arg-type]


def one_step(setting: Setting) -> Row:
    """Of rows of 16 tokens."""
    model, step = throughput.distillation(scene.classifier(shape(setting), dropout=0.1))
    rows = scene.rows(throughput.BATCH, [16, 12], shape(setting).vocabulary, columns=False)
    training = Training(setting, model, step, collate(rows, 0))
    with quick_attention(model):
        work = operations(training)
        row = measured(setting, "stillhouse, one step by itself", training)
    return with_share(setting, [row], work, throughput.BATCH)[0]


def shape(setting: Setting) -> scene.Shape:
    """MiniLM-L6's."""
    return scene.Shape(6, 32, 4, 64, 300) if setting.tiny else scene.MINILM
