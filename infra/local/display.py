"""Where a run is shown: on a terminal's screen, or as lines of text. Always on stderr: stdout is for results."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from desk.rows import Row
from infra.local import view
from infra.local.watch import Snapshot

_ALERTS_PER_LINE = 3


class Display(Protocol):
    """Shows what it is given."""

    interval_seconds: float
    last: Snapshot | None

    def say(self, phase: str) -> None:
        """Tell what is being done."""

    def show(self, snapshot: Snapshot, new_alerts: list[Row]) -> None:
        """Show how things are."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def display_on_stderr() -> Display:
    """Give the screen where there is a terminal, else lines."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    return Screen(console) if console.is_terminal else Lines(console)


class Screen:
    """The live view; it leaves its last state on the terminal."""

    interval_seconds = 1.0

    def __init__(self, console: Console) -> None:
        self.last: Snapshot | None = None
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def say(self, phase: str) -> None:
        """Show it in the middle of nothing, until there is a snapshot."""
        if self.last is None:
            self._live.update(Spinner("dots", text=f"{phase} ..."), refresh=True)

    def show(self, snapshot: Snapshot, new_alerts: list[Row]) -> None:
        """Redraw."""
        self.last = snapshot
        self._live.update(view.screen(snapshot, self._console.width, self._console.height), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if self.last:
            height = min(self._console.height, 30) - 1
            self._console.print(view.screen(self.last, self._console.width, height), height=height)


class Lines:
    """A line every few seconds, and the newest alerts."""

    interval_seconds = 5.0

    def __init__(self, console: Console) -> None:
        self.last: Snapshot | None = None
        self._console = console

    def say(self, phase: str) -> None:
        """Print it."""
        self._console.print(f"{phase} ...", markup=False)

    def show(self, snapshot: Snapshot, new_alerts: list[Row]) -> None:
        """Print a line."""
        self.last = snapshot
        self._console.print(view.line(snapshot), markup=False)
        for alert in new_alerts[-_ALERTS_PER_LINE:]:
            self._console.print(view.alert_line(alert), markup=False)
        if len(new_alerts) > _ALERTS_PER_LINE:
            self._console.print(f"        and {len(new_alerts) - _ALERTS_PER_LINE:,} more alerts")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lines need no end."""
