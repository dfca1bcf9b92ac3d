from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.sources.postgresql import unread_tables
from sync_pipeline.sources.postgresql.tables import PostgresqlTable
from sync_pipeline.sources.postgresql.unread import Timestamps


def table(size: int | None, rows: int | None = 1, *, relations: int = 1, indexed: bool = False) -> PostgresqlTable:
    return PostgresqlTable(
        CatalogTable(TableName("s", "t"), "table", rows=rows, size=size),
        oid=1,
        columns=(),
        numbers=(),
        comments={},
        never_null=frozenset(),
        key=(),
        children=(),
        relations=relations,
        indexed=frozenset({"at"} if indexed else ()),
        computes_rows=False,
        may_select=True,
        hides_rows=False,
    )


def batch_lengths(*tables: PostgresqlTable) -> list[int]:
    waiting = {Timestamps(f"t{index}", "t", "at", may_be_null=False): one for index, one in enumerate(tables)}
    return [len(batch) for batch in unread_tables._batches(waiting)]


MIB = 2**20


def test_small_tables_share_a_statement() -> None:
    assert batch_lengths(*[table(0)] * 250) == [100, 100, 50]
    assert batch_lengths(*[table(32 * MIB)] * 9) == [8, 1]
    assert batch_lengths(*[table(0, relations=40)] * 3) == [2, 1]


def test_an_index_makes_a_large_table_small() -> None:
    assert batch_lengths(*[table(2**40, indexed=True)] * 3) == [3]


def test_a_table_is_asked_about_alone() -> None:
    assert batch_lengths(table(33 * MIB), table(None), table(0, relations=101)) == []
    # Without statistics the server would not use the index.
    assert batch_lengths(table(2**40, None, indexed=True)) == []
