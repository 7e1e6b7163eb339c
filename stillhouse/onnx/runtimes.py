"""The runtimes that exported models are scored and timed in: each opens a file as a session of ONNX Runtime's shape.

`onnxruntime-cuda` and `tensorrt` are ONNX Runtime's providers of those names; `openvino` is the library itself, for its
provider comes in a build of ONNX Runtime of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.errors import InputError
from stillhouse.onnx.sessions import CPU, open_session


class Runtime(ABC):
    """A library, on a device."""

    @abstractmethod
    def missing(self) -> str | None:
        """Why it does not run here, and the way out; None where it does."""

    @abstractmethod
    def described(self) -> str:
        """Library, version, device, and the precision where the runtime could choose another."""

    @abstractmethod
    def open(self, file: Path, threads: int) -> Any:
        """A session: `get_inputs()`, `get_outputs()` (each with a `name`), `run(names or None, arrays by name)`.

        Args:
            threads: of the CPU.

        Raises:
            InputError: the file is missing or damaged.
        """


@dataclass(frozen=True)
class OnnxRuntime(Runtime):
    """ONNX Runtime, on one of its providers.

    Args:
        provider: its name there.
        device: in words.
    """

    provider: str
    device: str

    def missing(self) -> str | None:
        import onnxruntime

        if self.provider in onnxruntime.get_available_providers():
            return None
        return (
            f"ONNX Runtime has no {self.provider} here: install onnxruntime-gpu in its place, on a machine with a GPU"
        )

    def described(self) -> str:
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}, {self.device}"

    def open(self, file: Path, threads: int) -> Any:
        session = open_session(file, threads, self.provider)
        if session.get_providers()[0] != self.provider:
            # It falls back to the CPU where the device's libraries do not load: its times would be the CPU's.
            raise InputError(f"ONNX Runtime cannot use {self.provider} here: see what it says above, or take it out")
        return session


class OpenVino(Runtime):
    """OpenVINO on the CPU, in fp32 where the graph says fp32: else it takes bf16 where the processor has it."""

    def missing(self) -> str | None:
        return None if find_spec("openvino") else "OpenVINO is not installed: pip install 'stillhouse[openvino]'"

    def described(self) -> str:
        import openvino

        return f"OpenVINO {openvino.__version__.partition('-')[0]}, CPU, fp32"

    def open(self, file: Path, threads: int) -> Any:
        import openvino

        if not file.is_file():
            raise InputError(f"'{file}' is missing: run the stage that makes it")
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        core = openvino.Core()
        try:
            graph = core.read_model(str(file))
            return OpenVinoSession(graph, core.compile_model(graph, "CPU", settings))
        except RuntimeError as error:
            raise InputError(f"OpenVINO cannot read '{file}' ({' '.join(str(error).split())[:200]})") from None


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph."""

    name: str


class OpenVinoSession:
    """A compiled model that is asked as a session of ONNX Runtime is."""

    def __init__(self, graph: Any, compiled: Any) -> None:
        self.request = compiled.create_infer_request()
        # By the file's names: compiling adds those of what it has fused.
        self.inputs, self.outputs = (
            [Port(each.get_any_name()) for each in side] for side in (graph.inputs, graph.outputs)
        )

    def get_inputs(self) -> list[Port]:
        return self.inputs

    def get_outputs(self) -> list[Port]:
        return self.outputs

    def run(self, names: Sequence[str] | None, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """What the graph gives, in the order of the names; None: in its own."""
        given = self.request.infer(dict(arrays))
        # A request's arrays are its own memory, which the next call writes into.
        found = {port.name: given[place].copy() for place, port in enumerate(self.outputs)}
        return list(found.values()) if names is None else [found[name] for name in names]


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": OnnxRuntime(CPU, "CPU"),
    "onnxruntime-cuda": OnnxRuntime("CUDAExecutionProvider", "CUDA"),
    "tensorrt": OnnxRuntime("TensorrtExecutionProvider", "TensorRT"),
    "openvino": OpenVino(),
}
