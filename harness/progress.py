"""Progress on stderr while the harness works; silent when stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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
