"""Work on several machines at once, each in a thread; one that is left ends all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from slimedge.progress import Progress
from slimedge.runtime.agent_process import end_all

_LOOKS_EVERY_S = 0.2
_TIDY_WITHIN_S = 10.0

Work = Callable[[str, Progress], None]


class _LeftError(BaseException):
    """Ends the work on a machine whose result nobody waits for any more."""


def beside_each_other(work: Work, names: Sequence[str], progress: Progress) -> None:
    """Call `work` for every name, in threads where there are several.

    An exception of one, or Ctrl-C, ends the agents of all, waits until they have tidied up, and is raised again.

    Args:
        work: called with a name and what to tell progress.
        names: of machines.
        progress: told what is done last, and the share of everything that is done.
    """
    if len(names) == 1:
        work(names[0], progress)
        return
    shares = dict.fromkeys(names, 0.0)
    left = threading.Event()
    raised: list[BaseException] = []

    def on(name: str) -> None:
        def tell(doing: str, share: float | None = None, /) -> None:
            if left.is_set():
                raise _LeftError
            shares[name] = shares[name] if share is None else share
            progress(doing, sum(shares.values()) / len(shares))

        try:
            work(name, tell)
        except _LeftError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            raised.append(error)

    threads = [threading.Thread(target=on, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not raised:
            for thread in threads:
                thread.join(_LOOKS_EVERY_S)
    finally:
        if any(thread.is_alive() for thread in threads):
            left.set()
            end_all()
            for thread in threads:
                thread.join(_TIDY_WITHIN_S)
    if raised:
        raise raised[0]
