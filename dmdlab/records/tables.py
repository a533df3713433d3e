"""Runs as a table of columns for other programs: Parquet, and SQL over them (the extra `dmdlab[tables]`).

SQL sees the table `runs` in memory and nothing else: it can neither read a file or an address nor write one.
"""

import importlib
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from dmdlab.config import InputError
from dmdlab.trouble import printable

SECONDS, MEMORY = 60.0, 10**9
"""Time and bytes that a query may take by itself (ours: ten thousand runs take a hundredth of these)."""

VALUES = 10_000_000
"""Rows times columns that a query may give (ours: as Python's objects they take about a gigabyte)."""

Row = Mapping[str, Any]


def columns_of(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """All keys of all rows with their values, None where a row has none: of a column that holds numbers, texts or truth
    values alone as they are; of any other, and of lists, their JSON as texts."""
    keys = dict.fromkeys(key for row in rows for key in row)
    found = {}
    for key in keys:
        values = [row.get(key) for row in rows]
        kinds = {type(value) for value in values} - {type(None)}
        if kinds == {int, float} and all(abs(value) < 2**1000 for value in values if type(value) is int):
            values = [None if value is None else float(value) for value in values]
        elif kinds and (len(kinds) > 1 or not kinds <= {bool, int, float, str}):
            values = [None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values]
        elif kinds == {int} and max(map(abs, filter(None, values)), default=0) >= 2**63:
            values = [None if value is None else str(value) for value in values]
        elif kinds == {str}:  # what is no text, as half of a surrogate pair, has no UTF-8
            values = [None if v is None else v.encode("utf-8", "backslashreplace").decode() for v in values]
        found[key] = values
    return found


def write_parquet(rows: Sequence[Row], file: IO[bytes]) -> None:
    """The rows as Parquet. Raises `InputError` without pyarrow."""
    pyarrow = _needed("pyarrow", "--format parquet")
    importlib.import_module("pyarrow.parquet")
    pyarrow.parquet.write_table(pyarrow.table(columns_of(rows)), file)


def select(rows: Sequence[Row], query: str, seconds: float = SECONDS, memory: int = MEMORY) -> list[dict[str, Any]]:
    """What a SELECT on the table `runs` gives, a row each. seconds, memory (bytes): that the query may take. Raises
    `InputError`: no duckdb or pyarrow, no SELECT or more than one statement, beyond these bounds or `VALUES`, and
    whatever the query does wrong."""
    duckdb, pyarrow = _needed("duckdb", "--sql"), _needed("pyarrow", "--sql")
    if not rows:
        raise InputError("--sql: there are no runs to ask about; leave out filters, or see `dmdlab runs ls`")
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false", "temp_directory": ""})
    over = threading.Event()

    def stop() -> None:
        over.set()
        with suppress(Exception):  # done in this moment
            connection.interrupt()

    clock = threading.Timer(seconds, stop)
    try:
        connection.register("given", pyarrow.table(columns_of(rows)))
        connection.execute("CREATE TABLE runs AS SELECT * FROM given")
        connection.unregister("given")
        for setting in (f"memory_limit = '{memory}B'", "enable_external_access = false", "lock_configuration = true"):
            connection.execute(f"SET {setting}")
        asked = connection.extract_statements(query)
        if len(asked) != 1 or asked[0].type != duckdb.StatementType.SELECT:
            raise InputError(
                '--sql: expected one SELECT on the table runs, as in \'SELECT "law.dim", avg(pair_cosine) FROM runs '
                "GROUP BY ALL'"
            )
        clock.start()
        # a table keeps to the memory, as a stream of rows would not
        connection.execute(f"CREATE TEMP TABLE answer AS\n{asked[0].query}")
        names = [column[0] for column in connection.execute("SELECT * FROM answer LIMIT 0").description]
        number = connection.execute("SELECT count(*) FROM answer").fetchone()[0]
        if number * len(names) > VALUES:
            raise InputError(
                f"--sql: this gives {number} rows of {len(names)} columns, expected at most {VALUES} values in all: "
                "ask for fewer columns or for averages, or add LIMIT"
            )
        found = connection.execute("SELECT * FROM answer").fetchall()
        return [dict(zip(names, map(_plain, row), strict=True)) for row in found]
    except duckdb.OutOfMemoryException:
        raise InputError(
            f"--sql: this takes more than {memory / 10**9:g} GB of memory, expected less: ask for less, or give it "
            "more by --sql-memory"
        ) from None
    except duckdb.Error as error:
        if over.is_set():
            raise InputError(
                f"--sql: stopped after {seconds:g} s, expected to be done by then: ask for less, or give it more time "
                "by --sql-seconds"
            ) from None
        raise InputError(f"--sql: {printable(' '.join(str(error).split()))}") from None
    finally:
        clock.cancel()
        connection.close()


def _plain(value: Any) -> Any:
    """A value of a query as JSON has it; of other types their text."""
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


def _needed(name: str, by: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"{by} needs {name}, which is not here: pip install 'dmdlab[tables]'") from None
