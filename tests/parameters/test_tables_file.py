from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.identifiers import SourceTable, TableId
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.parameters.table import BY_NAME
from sync_pipeline.parameters.table_selection import ChosenTable
from tests.fuzz_cases import TEXTS, cases
from tests.parameter_sets import BIGQUERY, MONGODB, POSTGRESQL, WITH_NULLS

RUN = POSTGRESQL | {"postgresql_query": "", "destination_bigquery_table": ""}
COLLECTIONS = MONGODB | {"mongodb_collection": "", "destination_bigquery_table": ""}
CATALOG = tuple(
    CatalogTable(TableName("public", name), "table") for name in ("audit_1", "customers", "log_1", "log_2", "orders")
)
FILE = """
defaults:
  schema_evolution: add
  batch_size: 500
tables:
  - postgresql_table: log_*
    write_disposition: WRITE_APPEND
    batch_size: 100
  - postgresql_table: public.log_2
    transformation_config:
      exclude_fields: [text]
  - postgresql_table: [orders, customers]
    primary_key: [tenant, id]
    enable_smart_sync: true
    dead_letter_table: my-project.production.rejected
  - postgresql_table: "!public.audit_*"
  - postgresql_query: SELECT 1 AS x
    destination_bigquery_table: ones
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tables.yaml"


def run(path: Path, text: str, parameters: dict[str, str] | None = None) -> RunConfig:
    path.write_text(text, encoding="utf-8")
    return RunConfig.from_parameters((parameters or RUN) | {"tables_file": str(path)})


def chosen(config: RunConfig, catalog: tuple[CatalogTable, ...] = CATALOG) -> dict[str, ChosenTable]:
    assert config.selection is not None
    return {one.name: one for one in config.selection.choose(catalog).tables}


def configs(config: RunConfig) -> dict[str, SyncConfig]:
    return {name: one.config({}) for name, one in chosen(config).items()}


def problems(path: Path, text: str, parameters: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        run(path, text, parameters)
    return list(caught.value.problems)


def test_the_tables_of_a_file(path: Path) -> None:
    tables = configs(run(path, FILE))
    assert list(tables) == ["public.customers", "public.log_1", "public.log_2", "public.orders", "query into ones"]
    assert {config.schema_evolution for config in tables.values()} == {"add"}
    assert [config.batch_size for config in tables.values()] == [500, 100, 500, 500, 500]
    orders = tables["public.orders"]
    assert orders.primary_key == ("tenant", "id")
    assert orders.smart_sync is not None
    assert orders.dead_letter_table == TableId("my-project", "production", "rejected")
    assert orders.source.table == SourceTable("public", "orders")
    assert tables["public.log_2"].transformation.exclude_fields == ("text",)
    assert tables["public.log_1"].transformation.exclude_fields == ()


def test_a_query_of_a_file(path: Path) -> None:
    one = chosen(run(path, FILE))["query into ones"]
    assert one.table is None
    config = one.config({})
    assert (config.source.query, config.source.table) == ("SELECT 1 AS x", None)
    assert config.destination.table == "ones"


def test_a_parameter_that_names_tables_is_the_selection(path: Path) -> None:
    config = run(path, FILE, RUN | {"postgresql_table": "orders,audit_*,log_1,*"})
    tables = configs(config)
    assert list(tables) == ["public.customers", "public.log_1", "public.log_2", "public.orders"]
    assert tables["public.orders"].primary_key == ("tenant", "id")
    assert list(configs(run(path, FILE, RUN | {"postgresql_table": "log_1"}))) == ["public.log_1"]


def test_the_order_of_what_is_given(path: Path) -> None:
    text = "defaults: {batch_size: 2, num_partitions: 2}\ntables: [{postgresql_table: orders, num_partitions: 3}]"
    (config,) = configs(run(path, text, RUN | {"batch_size": "1", "num_partitions": "1", "max_retries": "1"})).values()
    assert (config.max_retries, config.batch_size, config.num_partitions) == (1, 2, 3)


def test_a_default_in_an_entry_is_given(path: Path) -> None:
    text = "tables: [{postgresql_table: orders, write_disposition: WRITE_APPEND, enable_smart_sync: false}]"
    (one,) = chosen(run(path, text, RUN | {"create_disposition": "CREATE_IF_NEEDED"})).values()
    assert {"write_disposition", "enable_smart_sync"} <= one.given
    assert "create_disposition" not in one.given
    config = one.config({"write_disposition": "WRITE_TRUNCATE", "enable_smart_sync": True, "primary_key": ("id",)})
    assert config.destination.write_disposition == "WRITE_APPEND"
    assert config.smart_sync is None
    assert config.primary_key == ("id",)


def test_only_an_entry_is_warned_about(path: Path) -> None:
    text = "defaults: {partition_field: day}\ntables: [{postgresql_table: orders, clustering_fields: [id]}]"
    (config,) = configs(run(path, text, RUN | {"partition_granularity": "MONTH"})).values()
    assert config.warnings == ("clustering_fields is ignored: enable_auto_schema is false",)


def test_hashes_of_any_table_are_warned_of_once(path: Path) -> None:
    text = "tables: [{postgresql_table: orders, transformation_config: {hash_fields: [a]}}, {postgresql_table: log_1}]"
    (warning,) = run(path, text).warnings
    assert warning.startswith("hash_fields are hashed without a key")
    assert run(path, text, RUN | {"hash_key": "projects/p/secrets/s/versions/1"}).warnings == ()


@pytest.mark.parametrize(
    ("parameters", "text", "names"),
    [
        pytest.param(
            COLLECTIONS, "tables: [{mongodb_collection: users, mongodb_query: '{}'}]", ["users"], id="MongoDB"
        ),
        pytest.param(
            BIGQUERY | {"source_bigquery_table": "", "destination_bigquery_table": "copy_of_{table}"},
            "tables: [{source_bigquery_table: users},"
            " {source_bigquery_query: SELECT 1 AS x, destination_bigquery_table: y}]",
            ["users", "query into y"],
            id="BigQuery",
        ),
    ],
)
def test_other_sources(path: Path, parameters: dict[str, str], text: str, names: list[str]) -> None:
    catalog = (CatalogTable(TableName("", "users"), "table"),)
    assert list(chosen(run(path, text, parameters), catalog)) == names


def test_one_literal_collection_with_a_file_is_looked_up(path: Path) -> None:
    config = run(path, "defaults: {mongodb_query: '{}'}", COLLECTIONS | {"mongodb_collection": "users"})
    assert config.single is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("# nothing", "it is empty: write a mapping with defaults and tables", id="empty"),
        pytest.param("- a", "it is another YAML value: write a mapping with defaults and tables", id="list"),
        pytest.param(
            "a: [", "this is not YAML: expected the node content, but found '<stream end>' (line 1, column 5)"
        ),
        pytest.param("table: []", "table is not known; did you mean tables?", id="unknown key"),
        pytest.param("tables: a", "tables has to be a list of mappings, each with the name of a table", id="no list"),
        pytest.param("defaults: a", "defaults: it has to be a mapping of parameters to values", id="no defaults"),
        pytest.param("tables: [a]", "tables[0]: it has to be a mapping of parameters to values", id="no mapping"),
        pytest.param(
            "tables: [{primary_key: id}]",
            "tables[0]: it names no table: give postgresql_table, or postgresql_query or postgresql_base_query with "
            "destination_bigquery_table",
            id="no table",
        ),
        pytest.param(
            "tables: [{postgresql_query: SELECT 1 AS x}]",
            "tables[0]: destination_bigquery_table is missing: a query has no table's name",
            id="query without a destination",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, primary_keys: id}]",
            "tables[0] (orders): primary_keys is not a parameter of this template; did you mean primary_key?",
            id="unknown parameter",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, postgresql_host: h}]",
            "tables[0] (orders): postgresql_host is the same for all tables: give it as a parameter of the run",
            id="parameter of the run",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, hash_key: hunter3}]",
            "tables[0] (orders): hash_key is a secret: give it as a parameter of the run",
            id="secret",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, mongodb_query: '{}'}]",
            "tables[0] (orders): mongodb_query has no effect: data_source is postgresql",
            id="another source",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, primary_key: a b}]",
            "tables[0] (orders): primary_key is 'a b': 'a b': a BigQuery column name has ASCII letters, digits and "
            "underscores and begins with a letter or an underscore",
            id="invalid value",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, num_partitions: 2.5}]",
            "tables[0] (orders): num_partitions is not a text: put its value in quotes",
            id="another type",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, transformation_config: {include_field: [a]}}]",
            "tables[0] (orders): transformation_config.include_field: unknown key; did you mean include_fields?",
            id="transformation",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, postgresql_query: SELECT 1}]",
            "tables[0] (orders): postgresql_table and postgresql_query are both given: omit one of them",
            id="table and query",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders, primary_key: id, write_disposition: WRITE_TRUNCATE}]",
            "tables[0] (orders): primary_key merges rows into the existing ones, but write_disposition is "
            "'WRITE_TRUNCATE', which replaces all rows: omit one of them",
            id="contradiction",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders}, {postgresql_table: log_1}, {postgresql_table: public.orders}]",
            "tables[2] (public.orders): tables[0] (orders) names public.orders already",
            id="named twice",
        ),
        pytest.param(
            "tables: [{postgresql_table: orders}, {postgresql_table: '!log_*', batch_size: 5}]",
            "tables[1] (!log_*): it only excludes tables: omit batch_size",
            id="settings of an exclusion",
        ),
        pytest.param(
            "defaults: {postgresql_table: orders}\ntables: [{postgresql_table: orders}]",
            "defaults: postgresql_table is not a default: write it in an entry under tables",
            id="table as a default",
        ),
        pytest.param(
            "tables: [{postgresql_query: SELECT 1, destination_bigquery_table: 'x_{table}'}]",
            "tables[0] (x_{table}): destination_bigquery_table is 'x_{table}': a query has no table's name; write a "
            "name without braces",
            id="fields for a query",
        ),
        pytest.param(
            "tables: [{postgresql_table: '!log_*'}]",
            "tables_file names no tables to sync: give postgresql_table in an entry under tables, or as a parameter of "
            "the run",
            id="only exclusions",
        ),
    ],
)
def test_problems(path: Path, text: str, problem: str) -> None:
    expected = problem if problem.startswith("tables_file") else f"tables_file: {problem}"
    assert problems(path, text) == [expected]


def test_problems_of_all_tables_are_reported_together(path: Path) -> None:
    text = "tables: [{postgresql_table: a, batch_size: 0}, {postgresql_table: b c}, {postgresql_table: d, x: 1}]"
    found = problems(path, text, RUN | {"postgresql_host": "", "max_retries": "many"})
    assert [problem.partition(" is ")[0] for problem in found] == [
        "max_retries",
        "tables_file: tables[0] (a): batch_size",
        "tables_file: tables[1] (b c): postgresql_table",
        "tables_file: tables[2] (d): x",
        "postgresql_host",
    ]


def test_what_is_wrong_with_all_tables_is_said_once(path: Path) -> None:
    text = "tables: [{postgresql_table: a}, {postgresql_table: b}]"
    given = {"enable_smart_sync": "true", "write_disposition": "WRITE_TRUNCATE"}
    (problem,) = problems(path, text, RUN | given)
    assert problem.startswith("write_disposition is 'WRITE_TRUNCATE' and enable_smart_sync is true")


def test_an_entry_may_resolve_a_contradiction(path: Path) -> None:
    text = "tables: [{postgresql_table: orders, write_disposition: WRITE_APPEND}]"
    run(path, text, RUN | WITH_NULLS | {"write_disposition": "WRITE_TRUNCATE"})


def test_a_query_beside_a_file(path: Path) -> None:
    assert problems(path, "tables: [{postgresql_table: a}]", POSTGRESQL)[0] == (
        "tables_file and postgresql_query are both given: write the query as an entry of the file"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "tables_file: PATH cannot be read (FileNotFoundError): check its name and permissions"),
        pytest.param(b"\xff\xfe", "tables_file: PATH is not text in UTF-8", id="not UTF-8"),
        pytest.param(b"#" * 4_000_001, "tables_file: PATH is larger than 4,000,000 bytes", id="too large"),
    ],
)
def test_files_that_cannot_be_read(path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_parameters(RUN | {"tables_file": str(path)})
    assert caught.value.problems == (problem.replace("PATH", str(path)),)


def test_tables_of_a_file_must_exist(path: Path) -> None:
    config = run(path, "tables: [{postgresql_table: 'ordrs'}, {postgresql_table: 'x_*'}]")
    with pytest.raises(ConfigError) as caught:
        chosen(config)
    assert list(caught.value.problems) == [
        (
            "tables_file: tables[0] (ordrs): postgresql_table names ordrs, which does not exist; did you mean "
            "public.orders?"
        ),
        "tables_file: tables[1] (x_*): postgresql_table has x_*, which matches no table",
    ]


def test_a_setting_for_a_chosen_table_that_does_not_exist(path: Path) -> None:
    config = run(path, "tables: [{postgresql_table: 'ordrs', batch_size: 5}]", RUN | {"postgresql_table": "*"})
    assert config.selection is not None
    choice = config.selection.choose(CATALOG)
    assert "names ordrs, which does not exist" in str(choice.failed["ordrs"])
    assert list(chosen(run(path, FILE, RUN | {"postgresql_table": "orders"}))) == ["public.orders"]


def test_two_destinations_of_one_name(path: Path) -> None:
    text = "tables: [{postgresql_table: orders, destination_bigquery_table: customers}, {postgresql_table: customers}]"
    with pytest.raises(ConfigError, match=r"public.customers, public.orders have one destination table, customers: "):
        chosen(run(path, text))


def test_a_file_that_is_not_read() -> None:
    given = RUN | {"tables_file": "gs://bucket/tables.yaml", "hash_key": "projects/p/secrets/s/versions/1"}
    # The file may change these.
    given |= {"enable_smart_sync": "true", "write_disposition": "WRITE_TRUNCATE"}
    assert RunConfig.from_parameters(given, reads_file=False).warnings == ()
    with pytest.raises(ConfigError, match="postgresql_host is missing"):
        RunConfig.from_parameters(given | {"postgresql_host": ""}, reads_file=False)


def test_no_value_of_a_file_is_in_an_error_about_its_syntax(path: Path) -> None:
    assert "hunter3" not in problems(path, "tables: [{postgresql_table: 'hunter3")[0]


def test_a_file_may_be_json(path: Path) -> None:
    (config,) = configs(run(path, '{"tables":\t[{"postgresql_table": "orders", "primary_key": ["id"]}]}')).values()
    assert config.primary_key == ("id",)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("primary_key: no", id="truth value"),
        pytest.param("smart_sync_timestamp_column: 12:30", id="number of base 60"),
        pytest.param("batch_size: 0100", id="octal number"),
    ],
)
def test_texts_that_yaml_would_change_are_refused(path: Path, written: str) -> None:
    (problem,) = problems(path, f"tables:\n  - postgresql_table: orders\n    {written}")
    assert re.match(r"tables_file: line 3, column \d+, may be a text or a (number|truth value): ", problem)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.integers(), inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.dictionaries(st.sampled_from(sorted(BY_NAME)) | TEXTS, VALUES, max_size=4)


@cases(0.25)
@given(
    content=st.fixed_dictionaries(
        {}, optional={"defaults": ENTRIES | VALUES, "tables": st.lists(ENTRIES, max_size=3) | VALUES, "x": VALUES}
    ),
    source=st.sampled_from(
        [RUN, COLLECTIONS, BIGQUERY | {"source_bigquery_table": "*", "destination_bigquery_table": ""}]
    ),
)
def test_any_file_is_read_or_refused(tmp_path: Path, content: dict[str, Any], source: dict[str, str]) -> None:
    text = yaml.safe_dump(content, allow_unicode=True)
    with contextlib.suppress(ConfigError):
        run(tmp_path / "tables.yaml", text.encode(errors="replace").decode(), source)
