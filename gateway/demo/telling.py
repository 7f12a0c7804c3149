"""How the demo shows itself: a bar a stage while it runs, one table at the end, and the promise."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.cells import chop_cells
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.demo.story import EPSILON, Told
from gateway.demo.story import Progress as Report
from training.cards import promise_in_words
from training.units import Unit

_NAME: Final = 22  # width of the stage's name
_WIDEST: Final = 100  # cells; longer lines are tiring to read


@contextmanager
def stage(console: Console, name: str) -> Iterator[Report]:
    """A bar for one stage; what is yielded moves it."""
    columns = (
        TextColumn(f"[bold]{name:<{_NAME}}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", style="dim"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def report(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of or None)

        yield report
        known = bar.tasks[0].total
        bar.update(task, description="", completed=known or 1, total=known or 1)


def table(told: Told) -> Table:
    """What happened, in one look."""
    shown = Table(title="What happened", title_justify="left", show_header=False, pad_edge=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    shown.add_row("rows", f"{told.rows:,}")
    for column, found in told.entities.items():
        named = ", ".join(f"{entity} {count:,}" for entity, count in found.items())
        shown.add_row(f"  found in {column}", named)
    shown.add_row("leaks in the output", str(told.leaks))
    for name, value in told.epsilon.items():
        shown.add_row(name.replace("epsilon_", "ε "), value)
    for name, value in told.metrics_shown().items():
        shown.add_row(name, value)
    shown.add_row("model", told.model)
    shown.add_row("predictions", f"{told.predictions}, each explained; {told.receipts} receipts")
    shown.add_row("audit entries", f"{told.entries} in the bundle")
    shown.add_row("bundle", str(told.bundle))
    shown.add_row("verifier", told.verified)
    shown.add_row("one byte changed", told.tampered)
    for name, seconds in told.seconds.items():
        shown.add_row(f"  seconds, {name}", f"{seconds:.1f}")
    shown.add_row("seconds in all", f"{sum(told.seconds.values()):.1f}")
    return shown


def promise(delta: float, width: int) -> Panel:
    """What ε promises a person, in both languages; Chinese breaks anywhere, not at blanks."""
    english, chinese = (
        promise_in_words(float(EPSILON), delta, language, Unit.SUBJECT) for language in ("en", "zh")
    )
    words = Text(f"{english}\n\n" + "\n".join(chop_cells(chinese, min(width, _WIDEST) - 6)))
    return Panel(
        words,
        title=f"What ε = {EPSILON} promises a person in the data",
        padding=(1, 2),
        width=min(width, _WIDEST),
    )
