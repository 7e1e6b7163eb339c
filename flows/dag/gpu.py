"""The GPU stages of all flows on a Prefect server share its concurrency limit `gpu`: each holds one slot of it.

`make up` makes the limit. Without a server, or where the server has no such limit, no stage waits. A slot is a lease
that its flow renews: a flow that was killed loses it within five minutes.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flows.dag.process import stopped

GPU = "gpu"  # the limit's name on the Prefect server; stages with `meta: {gpu: true}` share it
PATIENCE = 10.0  # seconds to wait for a slot before checking whether the flow was stopped


@contextmanager
def gpu_slot(name: str) -> Iterator[None]:
    """Hold a slot of the limit; `name` is the stage's, for the line that says which one waits."""
    from prefect.concurrency.sync import concurrency
    from prefect.settings import PREFECT_API_URL

    with ExitStack() as held:
        waited = False
        while PREFECT_API_URL.value() and not stopped():
            try:
                # A training that holds its slot goes on while the server is away.
                limit = concurrency(GPU, timeout_seconds=PATIENCE, raise_on_lease_renewal_failure=False)
                held.enter_context(limit)
                break
            except TimeoutError:
                if not waited:
                    print(f"[{name}] waits for a slot of the limit '{GPU}'", flush=True)
                waited = True
        yield


def limit_gpus(api: str, slots: int) -> None:
    """Give a Prefect server's limit for GPU stages this many slots; it is made where there is none.

    Args:
        api: the server's address, which ends in /api.
    """
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(api) as client:
        client.upsert_global_concurrency_limit_by_name(GPU, slots)
