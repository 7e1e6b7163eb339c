"""By which network interface of this machine the other machines are reached."""

import ipaddress
import socket

import psutil

ELSEWHERE = "192.0.2.1"  # no machine has it (RFC 5737): the way there is the way out


def interface_to(address: str, port: int) -> str | None:
    """The interface by which an address is reached; None if it cannot be told.

    On many machines their own name means loopback. Where a name does, and is not loopback's own, the interface is that
    of the way out: by loopback no other machine would be reached.
    """
    try:
        ours = _source(address, port)
        if ipaddress.ip_address(ours).is_loopback and not _is_loopback(address):
            ours = _source(ELSEWHERE, port)
    except OSError:
        return None
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.split("%")[0] == ours for one in addresses):
            return name
    return None


def _source(address: str, port: int) -> str:
    """The address of this machine from which it would ask that one; nothing is sent."""
    family, kind, _, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as asking:
        asking.connect(place)
        return str(asking.getsockname()[0]).split("%")[0]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
