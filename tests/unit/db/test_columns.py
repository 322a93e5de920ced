"""What a column writes it reads again as it was, or it refuses to write it."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
)

from meshtune.db import drafts, sweeps, tokens  # noqa: F401 - their tables are part of the metadata
from meshtune.db.columns import EARLIEST, LATEST, Instant, Number, Word
from meshtune.db.models import Base, Wanted
from meshtune.db.session import reading, writing
from meshtune.engine.records import RunStatus

FAR_EAST, FAR_WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))
DEEP: dict[str, Any] = {}
for _ in range(500):
    DEEP = {"a": DEEP}
EXTREMES: list[Any] = [
    datetime(1, 1, 1, tzinfo=FAR_EAST),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=FAR_WEST),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 1, 1),
    EARLIEST,
    EARLIEST + timedelta(microseconds=1),
    LATEST,
    LATEST - timedelta(microseconds=1),
    LATEST.astimezone(FAR_EAST),
    math.nan,
    math.inf,
    -math.inf,
    5e-324,
    -1.7976931348623157e308,
    2**31,
    2**63 - 1,
    -(2**63),
    2**63,
    -(10**30),
    "",
    "\ud800",
    "\x00 and more",
    "\N{CAT FACE}" * 3,
    "a" * 100_000,
    {"a": math.nan},
    {"a": [math.inf]},
    {"a": "\ud800"},
    {"\udfff": 1},
    {"a": 10**4400},
    {"a": 2**80, "b": "\x00\N{CAT FACE}", "c": 5e-324},
    DEEP,
    [{"a": "\ud800"}],
    [],
    *RunStatus,
    *Wanted,
    "no such word",
    True,
]
COLUMNS = [column for table in Base.metadata.sorted_tables for column in table.columns]


def fits(column: Column[Any]) -> Callable[[Any], bool]:
    """Whether a value is of the kind that a column is for."""
    kinds: dict[type[Any], tuple[type, ...]] = {
        Instant: (datetime,),
        Word: (str,),
        Number: (float,),
        String: (str,),
        JSON: (dict, list),
        Boolean: (bool,),
        Integer: (int,),
    }
    fitting = next(types for kind, types in kinds.items() if isinstance(column.type, kind))
    return lambda value: isinstance(value, fitting)


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_every_column_reads_what_it_wrote_or_refuses_to_write_it(
    store: Engine, column: Column[Any]
) -> None:
    table = Table("scratch", MetaData(), Column("value", column.type.copy()))
    table.create(store)
    for value in filter(fits(column), EXTREMES):
        try:
            with writing(store) as session:
                session.execute(delete(table))
                session.execute(insert(table).values(value=value))
        except Exception:
            continue
        with reading(store) as session:
            read = session.scalar(select(table.c.value))
        assert read == value
        TypeAdapter(Any).dump_json(read)  # and it can be sent
