"""Ends work that other threads do: they ask whether to go on, and what they wait for is closed at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop:
    """Set once, for good, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = threading.Event()
        self._open: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._set.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits so long at most; whether to stop."""
        return self._set.wait(seconds)

    def set(self) -> None:
        with self._lock:
            self._set.set()
            closing, self._open = self._open, []
        # Side by side, for a device that is gone takes seconds to be sure of it.
        threads = [threading.Thread(target=close, daemon=True) for close in closing]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @contextmanager
    def closes(self, close: Callable[[], None]) -> Iterator[None]:
        """While this lasts, stopping calls `close`, from the thread that stops; at once, if that has happened."""
        with self._lock:
            too_late = self._set.is_set()
            if not too_late:
                self._open.append(close)
        if too_late:
            close()
        try:
            yield
        finally:
            with self._lock:
                if close in self._open:
                    self._open.remove(close)
