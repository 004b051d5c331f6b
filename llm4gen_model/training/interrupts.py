"""Ctrl-C and SIGTERM while training: a step is finished first, and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts_deferred(signals: list[int]) -> Iterator[None]:
    """Within the block the first Ctrl-C or SIGTERM is only noted in `signals`; a second Ctrl-C takes effect at once.

    So a step is not torn, and what raises in the middle of a C++ call cannot swallow the interrupt. A signal that is
    ignored, as Ctrl-C is by what a script starts in the background, stays so.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield
        return

    def note(number: int, _: object) -> None:
        if signals and number == signal.SIGINT:
            raise KeyboardInterrupt
        signals.append(number)

    heeded = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    handlers: dict[int, Any] = {number: signal.signal(number, note) for number in heeded}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
