"""Progress on stderr while the harness works; silent when stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


class Display:
    """One line a stage: what is being done, how far it is, how long it took."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
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

    def of_devices(self, turns: Mapping[str, int]) -> dict[str, Display | DeviceLine]:
        """What each device's session is shown by: of several, each has one line, with so many turns to go."""
        if len(turns) == 1:
            return dict.fromkeys(turns, self)
        return {device: DeviceLine(self, self._progress, device, total) for device, total in turns.items()}

    def say(self, words: str) -> None:
        """A line that stays."""
        self.console.print(words, style="yellow", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Stage]:
        stage = Stage(self._progress, description, total)
        try:
            yield stage
        finally:
            stage.end()


class DeviceLine:
    """The one line of a device among several: how many of its turns are done, and what it is at."""

    def __init__(self, display: Display, progress: Progress, device: str, turns: int) -> None:
        self._display, self._device = display, device
        self._line = Stage(progress, device, turns)

    def say(self, words: str) -> None:
        """A line that stays."""
        self._display.say(f"{self._device}: {words}")

    @contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[PartOfLine]:
        """With a `total` it is a turn, and counts when it has ended."""
        yield PartOfLine(self._line, description, total)
        if total is not None:
            self._line.advance()
        self._line.detail("")


class PartOfLine:
    """What a device is at just now."""

    def __init__(self, line: Stage, description: str, total: int | None) -> None:
        self._line, self._description, self._total = line, description, total
        self._steps = 0

    def advance(self, steps: int = 1) -> None:
        self._steps += steps

    def detail(self, text: str) -> None:
        """What is being done just now."""
        so_far = "" if self._total is None else f" {self._steps}/{self._total}"
        self._line.detail(f"{self._description}{so_far}: {text}")


class Stage:
    """A line of the display."""

    def __init__(self, progress: Progress, description: str, total: int | None) -> None:
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
