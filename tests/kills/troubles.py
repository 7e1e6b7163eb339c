"""What goes wrong for some seconds, with nothing killed: the network, the disk, the clock."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.kills.clock import Clock
from tests.kills.disk import Disk
from tests.kills.network import Link

HOWS = {"cut": 3, "held": 2, "slow": 2, "deaf": 2}  # what becomes of a link, and how often against the others
JUMPS = (-86_400, -3_600, -45, 45, 3_600, 86_400)  # seconds
LONGEST = 25.0  # seconds
LONGEST_CLOCK = 60.0  # seconds until a clock is right again
LEFT = (0, 20_000, 300_000, 3_000_000)  # bytes that a full disk has left


@dataclass
class Trouble:
    """One that has begun."""

    kind: str  # such as "network to mlflow cut"
    where: str  # the runners that it is for
    until: float  # seconds, as the caller counts them
    end: Callable[[], None]


@dataclass
class Troubles:
    """All that are possible here."""

    links: dict[str, dict[str, Link]]  # by runner and server
    clocks: dict[str, Clock]
    disk: Disk | None

    def begin(self, draw: random.Random, now: float) -> Trouble:
        """Begin one that is drawn."""
        kinds = ["network"] * 4 + ["clock"] * 2 * bool(self.clocks) + ["disk"] * 2 * bool(self.disk)
        kind, until = draw.choice(kinds), now + draw.uniform(1.0, LONGEST)
        if kind == "network":
            name = draw.choice(sorted(self.links))
            server = draw.choice(sorted(self.links[name]))
            how = draw.choices(list(HOWS), list(HOWS.values()))[0]
            link = self.links[name][server]
            link.set(how)
            return Trouble(f"network to {server} {how}", name, until, lambda: link.set("open"))
        if kind == "clock":
            name = draw.choice(sorted(self.clocks))
            clock, jump = self.clocks[name], draw.choice(JUMPS)
            clock.set(jump)
            # Then somebody sets it right, which is a jump too.
            right = now + draw.uniform(1.0, LONGEST_CLOCK)
            return Trouble("clock " + ("forward" if jump > 0 else "back"), name, right, lambda: clock.set(0))
        assert self.disk
        self.disk.fill(draw.choice(LEFT))
        return Trouble("disk full", " and ".join(sorted(self.links)), until, self.disk.free)

    def end_all(self) -> None:
        """Let everything be as it should."""
        for link in (link for links in self.links.values() for link in links.values()):
            link.set("open")
        for clock in self.clocks.values():
            clock.set(0)
        if self.disk:
            self.disk.free()
