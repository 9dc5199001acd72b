"""How a run tells of its progress: on stderr while it works, nothing when that is no terminal, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich import progress as rich_progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


class Stage(Protocol):
    """Something that takes a while, as it is shown."""

    def advance(self, steps: int = 1) -> None: ...

    def detail(self, text: str) -> None: ...


class Watcher(Protocol):
    """Who is told how the cases of a device go, from whichever thread."""

    def say(self, words: str) -> None: ...

    def stage(self, description: str, total: int | None = None) -> AbstractContextManager[Stage]: ...


class Progress(Watcher, Protocol):
    """Who is told how a run goes. `of_devices` gives each device's watcher; numbers are of its cases to go."""

    def of_devices(self, cases: Mapping[str, int]) -> Mapping[str, Watcher]: ...


class Silence:
    """Tells nobody."""

    def say(self, words: str) -> None:
        pass

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Silence]:  # noqa: ARG002
        yield self

    def advance(self, steps: int = 1) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def of_devices(self, cases: Mapping[str, int]) -> Mapping[str, Silence]:
        return dict.fromkeys(cases, self)


class Display:
    """One line a stage: what is being done, how far it is, how long it took."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._progress = rich_progress.Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}[/]"),
            console=self.console,
            disable=not sys.stderr.isatty(),
        )

    @contextmanager
    def shown(self) -> Iterator[Display]:
        with self._progress:
            yield self

    def of_devices(self, cases: Mapping[str, int]) -> Mapping[str, Watcher]:
        """Of several devices each has one line."""
        if len(cases) == 1:
            return dict.fromkeys(cases, self)
        return {device: DeviceLine(self, self._progress, device, total) for device, total in cases.items()}

    def say(self, words: str) -> None:
        """A line that stays."""
        self.console.print(words, style="yellow", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Line]:
        stage = Line(self._progress, description, total)
        try:
            yield stage
        finally:
            stage.end()


class DeviceLine:
    """The one line of a device among several: how many of its cases are done, and what it is at."""

    def __init__(self, display: Display, progress: rich_progress.Progress, device: str, cases: int) -> None:
        self._display, self._device = display, device
        self._line = Line(progress, device, cases)

    def say(self, words: str) -> None:
        """A line that stays."""
        self._display.say(f"{self._device}: {words}")

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[PartOfLine]:
        """With a `total` it is a case, and counts when it has ended."""
        yield PartOfLine(self._line, description, total)
        if total is not None:
            self._line.advance()
        self._line.detail("")


class PartOfLine:
    """What a device is at just now."""

    def __init__(self, line: Line, description: str, total: int | None) -> None:
        self._line, self._description, self._total = line, description, total
        self._steps = 0

    def advance(self, steps: int = 1) -> None:
        self._steps += steps

    def detail(self, text: str) -> None:
        """What is being done just now."""
        so_far = "" if self._total is None else f" {self._steps}/{self._total}"
        self._line.detail(f"{self._description}{so_far}: {text}")


class Line:
    """A line of the display."""

    def __init__(self, progress: rich_progress.Progress, description: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, detail="")

    def advance(self, steps: int = 1) -> None:
        self._progress.advance(self._task, steps)

    def detail(self, text: str) -> None:
        """What is being done just now."""
        self._progress.update(self._task, detail=text)

    def end(self) -> None:
        self._progress.update(self._task, detail="")
        task = self._progress.tasks[self._progress.task_ids.index(self._task)]
        if task.total is None:
            self._progress.update(self._task, total=1, completed=1)
        self._progress.stop_task(self._task)
