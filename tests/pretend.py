"""A device that a machine without a GPU can have: its tensors say that they are elsewhere, and compute on the CPU.

Within `pretend()` the device DEVICE holds numbers, as a GPU does. Tensors of it and of the CPU do not mix, but for
numbers of no dimension and for indices, and what makes Python wait for a GPU is counted: reading a number, choosing by
a mask, and a copy from or to the CPU that blocks. On a GPU itself torch counts them (`torch.cuda.set_sync_debug_mode`).
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")  # torch lets tensors of this device be made anywhere
aten = torch.ops.aten
READ = {aten._local_scalar_dense, aten.equal, aten.nonzero, aten.masked_select, aten._unique2, aten.is_nonzero}
INDEX = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
# They make a tensor of Python's numbers on the CPU, and copy it.
MADE_OF_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}


class There(Tensor):
    """A tensor on DEVICE; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "There":
        made = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of pretend()")


class _Operations(TorchDispatchMode):
    """Runs each operation on the numbers, after a look at where its tensors are."""

    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        given = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
        there = any(isinstance(each, There) for each in given)
        wanted = kwargs.get("device")
        to = there if wanted is None else torch.device(wanted) == DEVICE
        if not there and not to:
            return func(*args, **kwargs)
        packet = func.overloadpacket
        if packet in (aten._to_copy, aten.to, aten.copy_):
            crosses = len({isinstance(each, There) for each in given} | (set() if packet is aten.copy_ else {to})) > 1
            # Pinned memory alone is copied without waiting, and the way back never is.
            free = not isinstance(given[-1], There) and (kwargs.get("non_blocking") or args[2:] == (True,))
            if crosses and not free:
                self.waits["copy"] += 1
        else:
            self._check(func, packet, given)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        if not to:
            return out
        wrapped = tree_map(lambda each: There(each) if isinstance(each, Tensor) else each, out)
        return return_and_correct_aliasing(func, args, kwargs, wrapped) if there else wrapped

    def _check(self, func: Any, packet: Any, given: list[Tensor]) -> None:
        if packet in READ:
            self.waits[packet.__name__] += 1
        if packet in INDEX and any(each.dtype in (torch.bool, torch.uint8) for each in given[1:]):
            self.waits["mask"] += 1
        here = [each for each in given if not isinstance(each, There) and each.dim()]
        if packet in INDEX:
            # Indices may be on the CPU: they are copied.
            self.waits["copy"] += sum(not each.is_floating_point() for each in here[:1])
            here = here[1:] if here and not here[0].is_floating_point() else here
        if here:
            raise RuntimeError(f"{func}: tensors of shapes {[tuple(each.shape) for each in here]} are on the CPU")


class _Makers(TorchFunctionMode):
    """Tensors of Python's numbers keep them on DEVICE."""

    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in MADE_OF_NUMBERS and not isinstance(args[-1], Tensor):
            like = args[0] if func is Tensor.new_tensor else None
            device = kwargs.pop("device", None if like is None else like.device)
            if device is not None and torch.device(device) == DEVICE:
                if like is not None:
                    kwargs.setdefault("dtype", like.dtype)
                self.waits["copy"] += 1
                return There(torch.tensor(args[-1], **kwargs))
            kwargs |= {} if device is None else {"device": device}
        return func(*args, **kwargs)


@contextmanager
def pretend() -> Iterator[Counter[str]]:
    """Within it, DEVICE holds numbers. Gives what Python has waited for, by kind."""
    waits: Counter[str] = Counter()
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # a moved parameter stays the same object, as on a GPU
    try:
        with _Makers(waits), _Operations(waits):
            yield waits
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def moved(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch on DEVICE."""
    return {name: tensor.to(DEVICE) for name, tensor in batch.items()}


def here(value: Tensor) -> Tensor:
    """The numbers of a tensor, on the CPU."""
    return (value.held if isinstance(value, There) else value).detach()


def places(module: nn.Module) -> set[torch.device]:
    """Where its parameters and buffers are."""
    return {each.device for each in (*module.parameters(), *module.buffers())}


def _held(each: Any) -> Any:
    return each.held if isinstance(each, There) else each
