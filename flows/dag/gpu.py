"""GPU stages of all flows of a Prefect server share its concurrency limit `gpu`: a slot each, as many as it has.

`make up` makes the limit. Without a server, or where the server has no such limit, nothing is waited for. A slot is a
lease that its flow renews: what was killed gives its own back within five minutes.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flows.dag.process import stopped

GPU = "gpu"  # the limit's name on the Prefect server; stages with `meta: {gpu: true}` share it
PATIENCE = 10.0  # seconds until it looks whether the flow was stopped


@contextmanager
def gpu_slot(name: str) -> Iterator[None]:
    """Hold a slot; the stage's name is for the line that says who waits."""
    from prefect.concurrency.sync import concurrency
    from prefect.settings import PREFECT_API_URL

    with ExitStack() as held:
        waited = False
        while PREFECT_API_URL.value() and not stopped():
            try:
                # A server that is away for a while does not stop a training that has its slot.
                limit = concurrency(GPU, timeout_seconds=PATIENCE, raise_on_lease_renewal_failure=False)
                held.enter_context(limit)
                break
            except TimeoutError:
                if not waited:
                    print(f"[{name}] waits for a slot of the limit '{GPU}'", flush=True)
                waited = True
        yield
