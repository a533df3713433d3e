"""What commands print: tables for people on stdout, progress on stderr, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from dmdlab.records.cells import Cell

CELL_METRICS = ("delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "pair_auc", "remap_angle", "fidelity")
SHORT = {"law.name": "law", "law.dim": "d", "student.init": "init"}


def err() -> "Console":
    """The console for everything that is not a result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def out() -> "Console":
    """The console for results; as wide as its content when piped, so that nothing is cut."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=200)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2))


def cell_value(cell: "Cell", metric: str) -> str:
    """A cell's entry for one metric: mean and half the interval, '≥' for a bound, the seeds behind it if some lack it,
    and '(poor)' for a fidelity that no claim should rest on."""
    from dmdlab.pairing import POOR_FIDELITY
    from dmdlab.pairing.words import interval

    i = cell.metrics[metric]
    text = ("≥ " if metric in cell.bounded else "") + interval(i.mean, i.low, i.high)
    if i.missing:
        text += f" (n = {i.n})"
    return f"{text} (poor)" if metric == "fidelity" and i.mean > POOR_FIDELITY else text


def cell_table(cells: Sequence["Cell"], title: str) -> None:
    """The table a sweep ends with: a row a cell, mean and 95 % interval over seeds."""
    from rich.table import Table

    from dmdlab.pairing.words import number

    table = Table(title=title, title_justify="left")
    for key in cells[0].keys:
        table.add_column(SHORT.get(key, key), justify="right" if key == "law.dim" else "left")
    table.add_column("seeds", justify="right")
    for metric in CELL_METRICS:
        table.add_column("ceiling" if metric == "delta_e_ceiling" else metric, justify="right")
    previous = None
    for cell in cells:
        if previous is not None and cell.keys.get("law.dim") != previous:
            table.add_section()
        previous = cell.keys.get("law.dim")
        marks = (f" ({cell.failed} failed)" if cell.failed else "") + (" teacher!" if cell.flagged else "")
        values = [cell_value(cell, metric) for metric in CELL_METRICS]
        table.add_row(*[number(v) for v in cell.keys.values()], f"{cell.seeds}{marks}", *values)
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
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[Text(number(v)) for v in row])
    if whole:
        _print_whole(table)
    else:
        out().print(table)


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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = err()
    wide = console.width >= 120  # elsewhere numbers come first
    return Progress(
        TextColumn("{task.description}"),
        *([BarColumn(bar_width=24)] if wide else []),
        MofNCompleteColumn(),
        *([TimeElapsedColumn()] if wide else []),
        TextColumn("{task.fields[text]}"),
        console=console,
        disable=not console.is_terminal,
    )
