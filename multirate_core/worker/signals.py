"""What SIGINT and SIGTERM do to a worker process: they ask its race to stop, and break in if that goes unseen."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from multirate_core.worker.pulse import Pulse


def listen(pulse: Pulse) -> None:
    """Make SIGINT and SIGTERM requests to stop; one that the engine has ignored for a while breaks into its work."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        if pulse.impatient and pulse.engine_works:
            raise KeyboardInterrupt
        pulse.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def interrupt_main_thread() -> None:
    """Deliver SIGINT to the main thread, which also ends a blocking system call such as a download's."""
    ident = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and ident is not None:
        signal.pthread_kill(ident, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
