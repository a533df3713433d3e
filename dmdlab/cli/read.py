"""Commands that read: `table`, `plot`, `laws`, `metrics`, `config show`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdlab.cli import show
from dmdlab.cli.run import AsJson, Preset, Settings, first_of, split_words
from dmdlab.config import InputError, did_you_mean

if TYPE_CHECKING:
    from dmdlab.records.record import Record

app = typer.Typer()
config_app = typer.Typer(help="Settings: what can be set, and what a file resolves to.", no_args_is_help=True)
app.add_typer(config_app, name="config")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that sweep or run wrote.")]
Filters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILTER", help="Only these: 'law.dim>=32' student.init=rotated status=failed 'seed=[0, 1]'."
    ),
]
FORMATS = ("table", "csv", "json")


def _chosen(directory: Path, filters: Sequence[str] | None, needed: bool = False) -> "list[Record]":
    """The runs below a folder that filters choose; what is odd about the folder goes to stderr. needed: whether it
    raises `InputError` where there are runs, but none is chosen."""
    from dmdlab.records.catalogue import chosen, none_chosen
    from dmdlab.records.record import load_records

    with show.noted():
        records = load_records(directory)
    found = chosen(records, filters or ())
    if records and not found:
        told = none_chosen(records, filters or ())
        if needed:
            raise InputError(told)
        show.err().print(told, soft_wrap=True)
    return found


@app.command()
def table(
    directory: Directory,
    filters: Filters = None,
    format: Annotated[str, typer.Option(help="table, csv or json; csv and json hold every key.")] = "table",
) -> None:
    """One row a run: config keys with dots, metrics under their keys."""
    from dmdlab.records.cells import CELL_METRICS, SHORT, varying

    if format not in FORMATS:
        raise InputError(f"--format {format}{did_you_mean(format, FORMATS)}")
    records = _chosen(directory, filters)
    if format == "json":
        show.print_json([r.row for r in records])
    elif format == "csv":
        show.csv_table([r.row for r in records])
    else:
        settings = varying(records, also=("law.name", "law.dim", "student.init", "seed"))
        columns = ["id", "status", *settings, *CELL_METRICS]
        rows = [[r.row.get(c) for c in columns] for r in records]
        show.plain_table([SHORT.get(c, c) for c in columns], rows, whole=True)


@app.command()
def plot(
    name: Annotated[
        str,
        typer.Argument(
            help="dimension, axis, panels, components, pictures, curve, calibration, heatmap, ranks, displacement or "
            "boundary."
        ),
    ],
    directory: Directory,
    filters: Filters = None,
    x: Annotated[
        str | None,
        typer.Option("--x", metavar="KEY", help="axis: the setting along x; KEY,KEY,... for what changes together."),
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="KEY", help="axis: a line for each of its values.")] = None,
    panels: Annotated[str | None, typer.Option(metavar="KEY", help="axis: a row of panels for each value.")] = None,
    measures: Annotated[
        str | None, typer.Option(metavar="KEY,...", help="axis: measures, or other columns of `dmdlab table`.")
    ] = None,
    size: Annotated[str, typer.Option(help="paper or slide.")] = "paper",
    width: Annotated[
        str | None,
        typer.Option(
            metavar="INCHES",
            help="The figure's width, type as it is: column (3.25), text (6.75) or inches; default by what it shows.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Path without suffix; default DIR/figures/NAME.")] = None,
) -> None:
    """Draw a figure from finished runs, as PDF and PNG.

    Its caption lies beside it, and of `dimension` and `axis` the numbers at its marks. What `axis` shows is chosen
    among the settings that vary, where the options leave it.
    """
    from dmdlab.plots import Choice, save_plot
    from dmdlab.plots.axis import MEASURES

    shown = tuple(key.strip() for key in measures.split(",") if key.strip()) if measures else MEASURES
    given = any(option is not None for option in (x, by, panels, measures))
    choice = Choice(x, by, panels, shown) if given else None
    records = _chosen(directory, filters, needed=True)
    with show.noted():
        paths = save_plot(name, records, out or directory / "figures" / name, size, choice, width)
    for path in paths:
        print(path)


@app.command()
def laws(as_json: AsJson = False) -> None:
    """The catalogue of data laws and their parameters."""
    from dmdlab.laws import LAWS, law_parameters

    told = [(name, law.min_dim, law.summary, law_parameters(name)) for name, law in LAWS.items()]
    if as_json:
        show.print_json({n: {"summary": text, "min_dim": least, "parameters": p} for n, least, text, p in told})
        return
    rows = [(*law, ", ".join(f"{k}={v}" for k, v in parameters.items())) for *law, parameters in told]
    show.plain_table(["law", "least d", "what it is", "parameters and defaults"], rows)


@app.command()
def metrics(as_json: AsJson = False) -> None:
    """The glossary of measures: definition, reading, chance level."""
    from dmdlab.pairing import METRICS

    parts = ("definition", "reads_as", "chance")
    told = {key: {part: getattr(metric, part) for part in parts} for key, metric in METRICS.items()}
    if as_json:
        show.print_json(told)
        return
    show.plain_table(["key", "definition", "reads as", "chance"], [(key, *m.values()) for key, m in told.items()])


@config_app.command("show")
def config_show(words: Settings = None, preset: Preset = None, as_json: AsJson = False) -> None:
    """Every setting: its value and what it means.

    The value is that after defaults, preset, file and key=value.
    """
    from dmdlab.experiments import load, meanings, spelled_out

    path, overrides = split_words(words)
    found = load(path, preset, overrides)
    first = first_of(found).experiments()[0]
    settings = spelled_out(first)
    if as_json:
        show.print_json({"question": found.question, "settings": settings, "sweep": found.axes})
        return
    meaning, rows = meanings(first), []
    for key, value in settings.items():
        shown, swept = str(found.axes.get(key, value)), "swept" if key in found.axes else ""
        rows.append((key, shown, swept, meaning.get(key, "a parameter of the law")))
    show.plain_table(["key", "value", "", "meaning"], rows)
