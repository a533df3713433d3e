"""Commands that read: `table`, `plot`, `laws`, `metrics`, `config show`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dmdlab.cli import show
from dmdlab.cli.run import AsJson, Preset, Settings, first_of, save_plot, split_words
from dmdlab.config import InputError, describe, flatten, nearest

app = typer.Typer()
config_app = typer.Typer(help="Settings: what can be set, and what a file resolves to.", no_args_is_help=True)
app.add_typer(config_app, name="config")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that sweep or run wrote.")]
Filters = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Only the runs with these values.")]
FORMATS = ("table", "csv", "json")


def wanted(words: Sequence[str] | None) -> dict[str, Any]:
    """`key=value` words as a filter."""
    from dmdlab.experiments import parse_words

    return parse_words(words or ())


@app.command()
def table(
    directory: Directory,
    filters: Filters = None,
    format: Annotated[str, typer.Option(help="table, csv or json; csv and json hold every key.")] = "table",
) -> None:
    """One row a run: config keys with dots, metrics under their keys."""
    from dmdlab.lab.store import load_records, select
    from dmdlab.records.cells import varying

    if format not in FORMATS:
        raise InputError(f"--format {format}{nearest(format, FORMATS)}")
    records = select(load_records(directory), wanted(filters))
    rows = [r.row for r in records]
    if format == "json":
        show.print_json(rows)
    elif format == "csv":
        show.csv_table(rows)
    else:
        columns = [
            "id",
            "status",
            *varying(records, also=("law.name", "law.dim", "student.init", "seed")),
            *show.CELL_METRICS,
        ]
        show.plain_table(
            [show.SHORT.get(c, c) for c in columns], [[row.get(c) for c in columns] for row in rows], whole=True
        )


@app.command()
def plot(
    name: Annotated[str, typer.Argument(help="dimension, panels, curve, calibration, heatmap, ranks or displacement.")],
    directory: Directory,
    filters: Filters = None,
    size: Annotated[str, typer.Option(help="paper or slide.")] = "paper",
    out: Annotated[Path | None, typer.Option(help="Path without suffix; default DIR/figures/NAME.")] = None,
) -> None:
    """Draw a figure from finished runs, as PDF and PNG.

    Its caption lies beside it.
    """
    from dmdlab.lab.store import load_records, select
    from dmdlab.plots import PLOTS

    if name not in PLOTS:
        raise InputError(f"unknown plot {name!r}{nearest(name, PLOTS)}")
    records = select(load_records(directory), wanted(filters))
    for path in save_plot(name, records, out or directory / "figures" / name, size):
        print(path)


@app.command()
def laws(as_json: AsJson = False) -> None:
    """The catalogue of data laws and their parameters."""
    from dmdlab.laws import LAWS, law_parameters

    if as_json:
        show.print_json(
            {
                n: {"summary": law.summary, "min_dim": law.min_dim, "parameters": law_parameters(n)}
                for n, law in LAWS.items()
            }
        )
        return
    rows = [
        (n, law.min_dim, law.summary, ", ".join(f"{k}={v}" for k, v in law_parameters(n).items()))
        for n, law in LAWS.items()
    ]
    show.plain_table(["law", "least d", "what it is", "parameters and defaults"], rows)


@app.command()
def metrics(as_json: AsJson = False) -> None:
    """The glossary of measures: definition, reading, chance level."""
    from dmdlab.pairing import METRICS

    if as_json:
        show.print_json(
            {k: {"definition": m.definition, "reads_as": m.reads_as, "chance": m.chance} for k, m in METRICS.items()}
        )
        return
    show.plain_table(
        ["key", "definition", "reads as", "chance"],
        [(k, m.definition, m.reads_as, m.chance) for k, m in METRICS.items()],
    )


@config_app.command("show")
def config_show(words: Settings = None, preset: Preset = None, as_json: AsJson = False) -> None:
    """Every setting: its value and what it means.

    The value is that after defaults, preset, file and key=value.
    """
    from dmdlab.experiments import load

    path, overrides = split_words(words)
    found = load(path, preset, overrides)
    flat = flatten(first_of(found).experiments()[0])
    if as_json:
        show.print_json({"question": found.question, "settings": flat, "sweep": found.axes})
        return
    meaning = {key: text for key, _, text in describe()}
    rows = [
        (
            k,
            str(found.axes.get(k, v)),
            "swept" if k in found.axes else "",
            meaning.get(k, "a parameter of the law"),
        )
        for k, v in flat.items()
    ]
    show.plain_table(["key", "value", "", "meaning"], rows)
