"""What commands print: tables for people on stdout, progress on stderr, JSON for programs."""

import json
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from dmdlab.trouble import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from dmdlab.records.cells import Cell

T = TypeVar("T")
LOG_SECONDS = 30.0
"""Time between two lines on how it goes where there is no terminal for a bar (ours)."""


def err() -> "Console":
    """The console for everything that is not a result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def out() -> "Console":
    """The console for results; as wide as its content when piped, so that nothing is cut."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=200)


@contextmanager
def noted() -> Iterator[None]:
    """Within it, a warning is a note on stderr, told once."""
    with warnings.catch_warnings(record=True) as odd:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(printable(str(warning.message), keep="\n") for warning in odd):
        err().print(f"Note: {text}", soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON document on stdout; null for numbers that are none."""
    from dmdlab.records.writing import json_text

    print(json_text(value))


def cell_table(cells: Sequence["Cell"], title: str) -> None:
    """The table a sweep ends with: a row a cell, mean and 95 % interval over seeds."""
    from rich.table import Table

    from dmdlab.records.cells import CELL_METRICS, SHORT, cell_row

    table = Table(title=title, title_justify="left")
    for key in cells[0].keys:
        table.add_column(SHORT.get(key, key), justify="right" if key == "law.dim" else "left")
    for name in ("seeds", *CELL_METRICS):
        table.add_column("ceiling" if name == "delta_e_ceiling" else name, justify="right")
    for cell, after in zip(cells, [*cells[1:], cells[-1]], strict=True):
        table.add_row(*cell_row(cell), end_section=cell.dim != after.dim)
    _print_whole(table)


def _print_whole(table: "Table") -> None:
    """A table of numbers, beyond the terminal's edge if need be: half a number is worse than a broken line."""
    from rich.measure import Measurement

    console = out()
    natural = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    console.print(table, width=max(console.width, natural), soft_wrap=natural > console.width)


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[object]], whole: bool = False) -> None:
    """A table of short texts and numbers. whole: rather beyond the terminal's edge than folded."""
    from rich.table import Table
    from rich.text import Text

    from dmdlab.pairing.words import number

    table = Table()
    for column in columns:
        table.add_column(printable(column), overflow="fold")
    for row in rows:
        table.add_row(*[Text(printable(number(v), keep="\n")) for v in row])
    if whole:
        _print_whole(table)
    else:
        out().print(table)


def lines_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table without lines around it, a row a line however wide: for thousands of rows."""
    from dmdlab.pairing.words import number

    texts = [list(columns), *[[printable(number(value)) for value in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    form = "  ".join(f"{{:<{width}}}" for width in widths)
    print("\n".join(form.format(*text).rstrip() for text in texts))


def csv_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """All keys of all rows as CSV on stdout; empty where a row has none."""
    import csv
    import sys

    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()})


def bars() -> "Progress":
    """Progress bars on stderr; disabled where that is no terminal, since bars there would be noise in a file."""
    from rich import progress as rich

    console = err()
    columns = [
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=24),
        rich.TaskProgressColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[text]}"),
    ]
    if console.width < 120:  # numbers come first
        del columns[3], columns[1]
    return rich.Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=60.0)


def watched(items: Sequence[T], what: str) -> Iterator[T]:
    """The items one by one, behind a bar on stderr; a line now and then where that is no terminal."""
    with bars() as progress:
        task, last = progress.add_task(what, total=len(items), text=""), time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            progress.update(task, completed=done, text=f"{done} of {len(items)}")
            if progress.disable and time.monotonic() - last >= LOG_SECONDS:
                last = time.monotonic()
                progress.console.print(f"{what}: {done} of {len(items)}")


def duration(seconds: float) -> str:
    """'0.3 s', '40 s', '3 min', '2 h 5 min', '3 days 4 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1g} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days} days" + (f" {hours} h" if hours else "")


def throughput(students_per_second: float) -> str:
    """'2.4 students/s', or per minute or hour where that gives a number above one."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if students_per_second * seconds >= 1:
            return f"{students_per_second * seconds:.3g} students/{unit}"
    return f"{students_per_second * 3600:.2g} students/h"
