"""Damage that a seed draws: how often, what it does to the bytes of a file or of a request, and what a server says."""

import json
import os
import random
from typing import Any

from fastapi.testclient import TestClient

COUNT, SEED = int(os.environ.get("STILLHOUSE_MUTATIONS", "6")), int(os.environ.get("STILLHOUSE_SEED", "1"))


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The content with one or a few things wrong with it."""
    kind = draw.randrange(7)
    at, more = draw.randrange(len(content)), draw.randrange(1, 12)
    if kind == 0:  # bits
        damaged = bytearray(content)
        for _ in range(more):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        return bytes(damaged)
    if kind == 1:  # an end that never came
        return content[:at]
    if kind == 2:  # a piece that is not there
        return content[:at] + content[at + more :]
    if kind == 3:  # a piece that came twice
        return content[: at + more] + content[at:]
    if kind == 4:  # other letters
        letters = draw.choice(["utf-16", "latin-1", "utf-8-sig"])
        return content.decode("utf-8", errors="replace").encode(letters, "replace")
    if kind == 5:  # other types
        old, new = draw.choice([(b'"', b""), (b"1", b"null"), (b":", b": 7, "), (b"\t", b","), (b"e", b"\\ud83d")])
        return content.replace(old, new, more)
    return content[:at] + bytes(draw.randrange(256) for _ in range(more)) + content[at:]


def ask_damaged(client: TestClient, rows: list[dict[str, Any]], name: str, count: int) -> None:
    """Send a request of these rows, damaged in `count` ways: each is answered or refused as the caller's own fault.

    Args:
        client: of a served model.
        name: what the seed's draws are told apart by.
    """
    good, draw = json.dumps({"dataframe_records": rows}).encode(), random.Random(f"{SEED} {name}")
    seen = set()
    for number in range(count):
        body = mutated(good, draw)
        reply = client.post("/invocations", content=body, headers={"Content-Type": "application/json"})
        what = f"{name}, seed {SEED}, mutation {number}: {reply.status_code} {reply.text[:300]}"
        assert reply.status_code in (200, 400), what
        assert "unexpected error" not in reply.text and "Traceback" not in reply.text, what
        seen.add(reply.status_code)
    assert seen == {200, 400}
