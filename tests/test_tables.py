"""Runs as Parquet and under SQL, which sees no file."""

import csv
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made import made, write_run

from dmdlab.config import InputError
from dmdlab.records.tables import columns_of, select, write_parquet

Command = Callable[..., tuple[int, str, str]]

needed = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("duckdb", "pyarrow")), reason="without the extra dmdlab[tables]"
)
ROWS = [
    {"id": "a", "law.dim": 2, "mixed": 1, "list": [1, 2], "seen": True, "odd": "\ud800", "number": 1},
    {"id": "b\x1b", "law.dim": 8, "mixed": "x", "list": None, "seen": None, "odd": "é", "number": 0.5},
    {"id": "c", "huge": 2**80},
]


def test_columns_have_one_kind_each() -> None:
    found = columns_of(ROWS)
    assert found["law.dim"] == [2, 8, None]
    assert found["mixed"] == ["1", "x", None]
    assert found["list"] == ["[1, 2]", None, None]
    assert found["odd"] == ["\\ud800", "é", None]
    assert found["number"] == [1.0, 0.5, None]
    assert found["huge"] == [None, None, str(2**80)]
    assert columns_of([{"beyond": 10**400}, {"beyond": 0.5}])["beyond"] == [str(10**400), "0.5"]  # no float holds it


@needed
def test_sql_asks_the_runs_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert select(ROWS, 'SELECT id, "law.dim" * 2 AS twice FROM runs WHERE seen') == [{"id": "a", "twice": 4}]
    assert select(ROWS, "SELECT avg(number) AS n, count(*) AS all FROM runs") == [{"n": 0.75, "all": 3}]
    secret = tmp_path / "secret.csv"
    secret.write_text("a\nb\n")
    refused = [
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM read_text('{secret}')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM ROWS",  # a variable of Python
        f"COPY runs TO '{tmp_path / 'out.csv'}'",
        f"SELECT 1; COPY runs TO '{tmp_path / 'out.csv'}'",
        f"ATTACH '{tmp_path / 'x.db'}'",
        f"EXPORT DATABASE '{tmp_path / 'x'}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "DROP TABLE runs",
        "SELECT no_such_column FROM runs",
        "SELEC",
        "",
    ]
    for query in refused:
        with pytest.raises(InputError, match="--sql: "):
            select(ROWS, query)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]
    with pytest.raises(InputError, match="no runs to ask"):
        select([], "SELECT 1")


@needed
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELECT count(*) FROM range(9000000) a, range(9000000) b WHERE a.range * b.range % 7 = 3", "--sql-seconds"),
        ("SELECT repeat('x', 1000000) FROM range(200)", "--sql-memory"),
        ("SELECT list(range) FROM range(10000000)", "--sql-memory"),
        ("SELECT range, range + 1 FROM range(5000001)", "5000001 rows of 2 columns"),
    ],
)
def test_a_query_is_bounded_in_time_memory_and_what_it_gives(query: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        select(
            ROWS,
            query,
            seconds=0.3 if named == "--sql-seconds" else 60.0,
            memory=5 * 10**7 if named == "--sql-memory" else 10**9,
        )
    assert select(ROWS, "SELECT seen AS a, 2 AS a FROM runs ORDER BY id DESC LIMIT 1; -- all", memory=10**8) == [
        {"a": None, "a_1": 2}
    ]


@needed
def test_parquet_holds_every_key(tmp_path: Path) -> None:
    parquet = importlib.import_module("pyarrow.parquet")
    with (tmp_path / "runs.parquet").open("wb") as file:
        write_parquet(ROWS, file)
    assert parquet.read_table(tmp_path / "runs.parquet").to_pydict() == columns_of(ROWS)


@needed
def test_a_list_of_runs_in_every_format_and_by_sql(dmdlab: Command, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, made(seed=seed))
    query = ("--sql", 'SELECT seed, "law.name" AS law FROM runs ORDER BY seed')
    assert json.loads(dmdlab("runs", "ls", tmp_path, *query, "--format", "json")[1])[1]["seed"] == 1
    rows = list(csv.reader(io.StringIO(dmdlab("runs", "ls", tmp_path, "seed=1", *query, "--format", "csv")[1])))
    assert [row[0] for row in rows] == ["seed", "1"]
    assert len(dmdlab("runs", "ls", tmp_path, *query)[1].splitlines()) == 3
    code, out, err = dmdlab("runs", "ls", tmp_path, "--sql", "SELECT seeed FROM runs")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert 'seed"' in err  # as it is, or with its table (duckdb 1.1)
    command = [sys.executable, "-c", "from dmdlab.cli import main; main()", "runs", "ls", str(tmp_path)]
    done = subprocess.run([*command, "--format", "parquet"], capture_output=True, check=True)
    assert done.stdout[:4] == done.stdout[-4:] == b"PAR1"


@pytest.mark.parametrize(("words", "name"), [(("--format", "parquet"), "pyarrow"), (("--sql", "SELECT 1"), "duckdb")])
def test_what_is_missing_is_said(
    words: tuple[str, str], name: str, dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, made())
    monkeypatch.setitem(sys.modules, name, None)
    code, out, err = dmdlab("runs", "ls", tmp_path, *words)
    assert (code, out) == (2, "")
    assert f"needs {name}, which is not here: pip install 'dmdlab[tables]'" in err
