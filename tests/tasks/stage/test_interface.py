"""The network interface that a machine's processes are told."""

from types import SimpleNamespace

import psutil
import pytest

from tasks.stage import interface
from tasks.stage.interface import interface_to

REAL = interface._source


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of two interfaces, whose own name its /etc/hosts gives to loopback."""
    ways = {"node-0": "127.0.0.1", "10.0.0.7": "10.0.0.7", "node-1": "10.0.0.7", interface.ELSEWHERE: "10.0.0.7"}
    has = {"lo": "127.0.0.1", "eth0": "10.0.0.7"}
    monkeypatch.setattr(interface, "_source", lambda address, port: ways.get(address) or REAL(address, port))
    addresses = {name: [SimpleNamespace(address=address)] for name, address in has.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: addresses)


@pytest.mark.parametrize(
    ("address", "name"),
    [("localhost", "lo"), ("127.0.0.1", "lo"), ("10.0.0.7", "eth0"), ("node-1", "eth0"), ("node-0", "eth0")],
)
def test_it_is_the_one_by_which_others_are_reached(address, name):
    assert interface_to(address, 29500) == name


def test_it_is_not_told_where_it_cannot_be():
    assert interface_to("no-such-name.invalid", 29500) is None
