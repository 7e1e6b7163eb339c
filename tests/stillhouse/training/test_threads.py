from collections.abc import Iterator

import pytest
import torch

from stillhouse.training import threads


@pytest.fixture(autouse=True)
def number_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("usable", "told", "wanted"),
    [(1, "", 1), (2, "", 2), (64, "", 2), (1, "2", 2)],  # fewer, as many, more cores than threads; the user's number
)
def test_torch_gets_no_more_threads_than_usable_cores(
    monkeypatch: pytest.MonkeyPatch, usable: int, told: str, wanted: int
) -> None:
    monkeypatch.setattr(threads, "cpu_count", lambda: usable)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    threads.limit_threads()
    assert torch.get_num_threads() == wanted
