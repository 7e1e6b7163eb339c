"""Run exported models with ONNX Runtime. B sentences in a batch, L tokens, N sentences in all."""

from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from stillhouse.errors import InputError
from stillhouse.training.batches import collate
from stillhouse.training.predict import TokenRows

CPU = "CPUExecutionProvider"


def open_session(file: Path, threads: int, provider: str = CPU, *, optimize: bool = True) -> Any:
    """An `onnxruntime.InferenceSession`, on the CPU or as ONNX Runtime calls another of its providers.

    Without `optimize` it computes node by node what the graph says, slowly, and fuses nothing.

    Its threads stop spinning when a call ends: else those of an idle session take the cores from the one that is timed
    (measured on 2 cores: 3 ms alone, 30 ms with four idle sessions open, 3 ms again with this setting).

    Raises:
        InputError: the file is missing or damaged.
    """
    import onnxruntime
    from google.protobuf.message import DecodeError
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf

    if not file.is_file():
        raise InputError(f"'{file}' is missing: run the export stage that makes it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # of its errors it logs what it raises
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Without VNNI, pairs of int8 products are summed in 16 bits, which overflow: this widens them there, at some speed.
    options.add_session_config_entry("session.x64quantprecision", "1")
    providers = [provider] if provider == CPU else [provider, CPU]
    try:
        try:
            return onnxruntime.InferenceSession(str(file), options, providers=providers)
        except Fail:
            # Widening takes each int8 matrix out of the graph, and fails at the second layer that uses the same one.
            graph = _own_matrices(file)
            if graph is None:
                raise
            return onnxruntime.InferenceSession(graph, options, providers=providers)
    except (InvalidProtobuf, InvalidGraph, InvalidArgument, Fail, DecodeError) as error:
        raise InputError(f"'{file}': damaged ONNX file ({' '.join(str(error).split())[:200]}): export again") from None


def _own_matrices(file: Path) -> bytes | None:
    """The graph with a copy of each shared int8 matrix for every node that reads it; None where none is shared."""
    import onnx

    # Weights in other files stay unread: nothing that Stillhouse exports has any.
    model = onnx.load(file, load_external_data=False)
    shared = {each.name: each for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8}
    seen: set[str] = set()
    copied = False
    for number, node in enumerate(model.graph.node):
        for place, name in enumerate(node.input):
            if name in seen:
                copy = model.graph.initializer.add()
                copy.CopyFrom(shared[name])
                copy.name = node.input[place] = f"{name}.{number}"
                copied = True
            elif name in shared:
                seen.add(name)
    return model.SerializeToString() if copied else None


def feed(session: Any, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the session takes of a batch; token types that it wants and the batch lacks are zero. (B, L) int64 each."""
    zeros = np.zeros_like(batch["input_ids"])
    return {given.name: batch.get(given.name, zeros) for given in session.get_inputs()}


def predict_onnx(
    session: Any, data: Any, tokenizer: PreTrainedTokenizerBase, *, batch_size: int, output: str = "logits"
) -> np.ndarray:
    """(N, C) logits of tokenized rows, in their order: `stillhouse.training.predict.predict` for an exported model."""
    found = []
    for rows in TokenRows(data).in_order(batch_size):
        batch = {name: tensor.numpy() for name, tensor in collate(rows, tokenizer.pad_token_id).items()}
        found.append(session.run([output], feed(session, batch))[0])
    return np.concatenate(found)
