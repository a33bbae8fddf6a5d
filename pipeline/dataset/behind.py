"""Work done behind other work: a shard is written while the next one is computed."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


@contextlib.contextmanager
def behind() -> Iterator[Callable[..., None]]:
    """Gives a function that calls another one in a thread: a shard is written while the next one is computed.

    A call waits for the one before it, and the end for the last one; what a call raises is raised there.
    """
    last = list[Future[None]]()

    def call(function: Callable[..., None], *given: Any) -> None:
        if last:
            last.pop().result()
        last.append(writer.submit(function, *given))

    with ThreadPoolExecutor(1) as writer:
        yield call
        if last:
            last.pop().result()
