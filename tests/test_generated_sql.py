"""Every statement we send passes Google's own analyzer of GoogleSQL, against the tables it names.

The analyzer is ZetaSQL, compiled to WebAssembly: it knows syntax, names, types and coercions, and no quotas.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import chain

import pytest
import zetasql.core.wasm_client
from wasmtime import Config
from zetasql.api import CatalogBuilder, TableBuilder, TypeFactory
from zetasql.core.exceptions import ZetaSQLError
from zetasql.core.local_service import ZetaSqlLocalService
from zetasql.types import (
    AllowedHintsAndOptions,
    AnalyzeRequest,
    AnalyzeResponse,
    AnalyzerOptions,
    LanguageFeature,
    LanguageOptions,
    ProductMode,
    RangeType,
    ResolvedNodeKind,
    Type,
    TypeKind,
    ZetaSQLBuiltinFunctionOptions,
)

from sync_pipeline.auto_schema.ddl import add_columns_sql, create_table_sql, drop_not_null_sql, set_type_sql
from sync_pipeline.auto_schema.evolution import WIDENINGS
from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.bigquery_api.own_tables import DEAD_LETTER_SCHEMA
from sync_pipeline.googlesql import quoted
from sync_pipeline.planning.dead_letter_table import DEAD_LETTER_LAYOUT
from sync_pipeline.planning.destination import ExistingTable
from sync_pipeline.planning.latest_timestamp import Question, together_sql
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.pruning import clustered_by
from sync_pipeline.publishing.backfill import replace_interval_sql
from sync_pipeline.publishing.delete import merge_and_delete_sql
from sync_pipeline.publishing.differences import FOUND, KEPT, SOURCE_ROWS, columns_compared
from sync_pipeline.publishing.insert import append_sql
from sync_pipeline.publishing.merge import merge_sql
from sync_pipeline.publishing.reconcile import reconcile_sql
from sync_pipeline.publishing.refill import refill_sql, truncate_sql
from sync_pipeline.publishing.replace import build_sql, replace_sql, swap_sql
from sync_pipeline.publishing.rows_query import select_sql
from sync_pipeline.schema import (
    ARROW_TYPES,
    CLUSTERING_TYPES,
    EXPLICIT_CASTS,
    KEY_TYPES,
    LOSSLESS_CASTS,
    PARTITION_GRANULARITIES,
    RANGE,
    REPEATED,
    REQUIRED,
    STRUCT,
    Field,
    Schema,
)
from sync_pipeline.schema import INTERVAL as INTERVAL_TYPE
from sync_pipeline.smart_sync.interval import StartOrigin
from sync_pipeline.sources.bigquery.queries import Filter, rows_sql
from sync_pipeline.sources.bigquery.storage_read import SERVICE_COLUMNS
from sync_pipeline.sources.source import Selection
from sync_pipeline.transforms.batches import read_schema, transform_schema
from sync_pipeline.transforms.in_sql import reading_sql
from sync_pipeline.transforms.sql_conversions import CHECKED_CASTS, SURE_CASTS
from tests.plans import EVERY_TYPE, INTERVAL, USERS, deletions, plan, reconciliation

Analyze = Callable[..., str]

# What the analyzer can do and BigQuery does not.
NOT_IN_BIGQUERY = {LanguageFeature.FEATURE_JSON_TYPE_COMPARISON}
# What BigQuery does and the analyzer does only when asked.
IN_BIGQUERY = {
    LanguageFeature.FEATURE_ALTER_COLUMN_SET_DATA_TYPE,
    LanguageFeature.FEATURE_DISALLOW_GROUP_BY_FLOAT,
}


@pytest.fixture(scope="session")
def language(pytestconfig: pytest.Config) -> LanguageOptions:
    """Load the analyzer. Compiling it takes half a minute of both cores: one process does it, and pytest keeps it."""
    folder = pytestconfig.cache.mkdir("zetasql") if pytestconfig.cache else None

    class CachedConfig(Config):
        def __init__(self) -> None:
            super().__init__()
            if folder is not None:
                settings = folder / "wasmtime.toml"
                settings.write_text(f'[cache]\ndirectory = "{folder.resolve()}/compiled"\n')
                self.cache = str(settings)

    with contextlib.ExitStack() as stack:
        if folder is not None:
            # Who waits for the other process finds what that has compiled.
            fcntl.flock(stack.enter_context((folder / "lock").open("w")), fcntl.LOCK_EX)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(zetasql.core.wasm_client, "Config", CachedConfig)
        language = LanguageOptions.maximum_features()
    language.product_mode = ProductMode.PRODUCT_EXTERNAL
    language.supported_statement_kinds = [kind for kind in ResolvedNodeKind if kind.name.endswith("_STMT")]
    language.enabled_language_features = sorted({*language.enabled_language_features, *IN_BIGQUERY} - NOT_IN_BIGQUERY)
    return language


@pytest.fixture(scope="session")
def analyze(language: LanguageOptions) -> Analyze:
    """Analyze a statement in view of the tables; return what kind it is. Raises ZetaSQLError."""
    service = ZetaSqlLocalService.get_instance()
    options = AllowedHintsAndOptions(
        disallow_unknown_options=True,
        disallow_duplicate_option_names=True,
        option=[
            AllowedHintsAndOptions.Option(name=name, type=type_of(Field(name, type_name)))
            for name, type_name in {"description": "STRING", "expiration_timestamp": "TIMESTAMP"}.items()
        ],
    )

    @functools.cache
    def catalog(tables: tuple[tuple[str, Schema], ...]) -> int:
        catalog = CatalogBuilder("bigquery").with_builtin_functions(
            ZetaSQLBuiltinFunctionOptions(language_options=language)
        )
        for name, schema in tables:
            table = TableBuilder(name)
            for field in schema:
                table.add_column(field.name, type_of(field))
            catalog.add_table(table.build())
        # Registered, because making the functions known takes longer than all else.
        return int(service.register_catalog(simple_catalog=catalog.build()).registered_id)

    # Half of the statements are those of another case, word for word and in view of the same tables.
    @functools.cache
    def kind_of(
        sql: str, tables: tuple[tuple[str, Schema], ...], parameters: tuple[tuple[str, str | Field], ...]
    ) -> str:
        request = AnalyzeRequest(
            sql_statement=sql,
            registered_catalog_id=catalog(tables),
            options=AnalyzerOptions(
                language_options=language,
                query_parameters=[
                    AnalyzerOptions.QueryParameter(
                        name=name, type=type_of(of if isinstance(of, Field) else Field(name, of))
                    )
                    for name, of in parameters
                ],
                allowed_hints_and_options=options,
            ),
        )
        # As `service.analyze` does it, without making Python objects of the whole tree.
        response = service.wasm_client.call_grpc_func(
            "ZetaSqlLocalService_Analyze", request.to_proto(), AnalyzeResponse._PROTO_CLASS
        )
        node = response.resolved_statement
        while "node" in node.DESCRIPTOR.oneofs_by_name:
            node = getattr(node, node.WhichOneof("node"))
        return str(node.DESCRIPTOR.name)

    def run(sql: str, tables: dict[str, Schema], **parameters: str | Field) -> str:
        return kind_of(sql, tuple(sorted(tables.items())), tuple(parameters.items()))

    return run


def type_of(field: Field) -> Type:
    kind = {"FLOAT64": TypeKind.TYPE_DOUBLE}.get(field.type) or TypeKind[f"TYPE_{field.type}"]
    if field.type == STRUCT:
        element = TypeFactory.create_struct_type([(part.name, type_of(part)) for part in field.fields])
    elif field.type == RANGE:
        bound = TypeFactory.create_simple_type(TypeKind[f"TYPE_{field.parameters}"])
        element = Type(type_kind=kind, range_type=RangeType(element_type=bound))
    else:
        element = TypeFactory.create_simple_type(kind)
    return TypeFactory.create_array_type(element) if field.mode == REPEATED else element


def kinds(analyze: Analyze, script: str, tables: dict[str, Schema]) -> list[str]:
    """Analyze each statement of a script; what only a script has is not the analyzer's."""
    return [
        analyze(statement, tables).removeprefix("Resolved").removesuffix("StmtProto")
        for statement in script.split(";\n")
        if not statement.startswith(("BEGIN TRANSACTION", "COMMIT TRANSACTION"))
    ]


def tables_of(plan: TableSync) -> dict[str, Schema]:
    """Return the destination, the run's staging table, and what may take the destination's place."""
    return {
        plan.table_id: plan.schema,
        plan.staging_table_id: Schema.from_bigquery(plan.schema.staged),
        plan.replacement_table_id: plan.schema,
        plan.replaced_table_id: plan.schema,
    }


EMPTY: dict[str, Schema] = {}

LAYOUTS = {
    "plain": TableLayout(),
    **{
        f"{type_name} by {granularity}": TableLayout(f"c_{type_name.lower()}", granularity)
        for type_name, granularities in PARTITION_GRANULARITIES.items()
        for granularity in granularities
    },
    **{
        f"clustered by {type_name}": TableLayout(clustering_fields=(f"c_{type_name.lower()}",))
        for type_name in sorted(CLUSTERING_TYPES & ARROW_TYPES.keys())
    },
    "clustered by four": TableLayout(clustering_fields=("id", "part", "c_bool", "c_numeric")),
    "one key": TableLayout(primary_key=("id",)),
    "all of it": TableLayout("updated_at", "MONTH", ("part", "id"), ("id", "part")),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("replaces", [False, True], ids=["create", "replace"])
def test_create_table(analyze: Analyze, layout: TableLayout, replaces: bool) -> None:
    create = "CREATE OR REPLACE TABLE" if replaces else "CREATE TABLE"
    sql = create_table_sql("my-project.production.users", EVERY_TYPE, layout, create=create)
    assert analyze(sql, EMPTY) == "ResolvedCreateTableStmtProto"


@pytest.mark.parametrize(
    "description",
    [
        pytest.param("say \"hi\" or 'ho'", id="quotes"),
        pytest.param("a\nb\r\nc\rd", id="newlines"),
        pytest.param("C:\\new\\\\x\\", id="backslashes"),
        pytest.param('"""', id="three quotes"),
        pytest.param("100 % {x} `y` -- no comment /* here */ # nor here", id="signs"),
        pytest.param("Zürich 東京 😀 \u2028", id="other scripts"),
        pytest.param("tab\t bell\a null\0", id="control characters"),
        pytest.param('"' * 2000, id="long"),
    ],
)
def test_descriptions(analyze: Analyze, description: str) -> None:
    schema = Schema((Field("id", "INT64", REQUIRED, description), Field("tags", "STRING", REPEATED, description)))
    assert analyze(create_table_sql("p.d.t", schema, TableLayout()), EMPTY) == "ResolvedCreateTableStmtProto"
    added = add_columns_sql("p.d.t", [Field("note", "STRING", description=description)])
    assert analyze(added, {"p.d.t": schema}) == "ResolvedAlterTableStmtProto"


def test_create_the_dead_letter_table(analyze: Analyze) -> None:
    sql = create_table_sql("my-project.production.lost", DEAD_LETTER_SCHEMA, DEAD_LETTER_LAYOUT)
    assert analyze(sql, EMPTY) == "ResolvedCreateTableStmtProto"


# Names that are words of GoogleSQL, of our own statements, or of the table itself.
AWKWARD = Schema(
    (
        Field("id", "INT64", REQUIRED),
        Field("updated_at", "TIMESTAMP"),
        *(Field(name, "STRING") for name in ("s", "t", "users", "select", "order", "_", "latest", "now", "Group")),
        Field("where", "JSON"),
    )
)

GRANULARITIES = [(name, each) for name in ("DATE", "DATETIME", "TIMESTAMP") for each in PARTITION_GRANULARITIES[name]]

PLANS = {
    "plain": plan(schema=USERS, interval=INTERVAL),
    "every type": plan(schema=EVERY_TYPE, interval=INTERVAL),
    "without Smart Sync": plan(schema=EVERY_TYPE),
    "awkward names": plan(schema=AWKWARD, interval=INTERVAL),
    "awkward project": plan({"destination_bigquery_project": "example.com:my-project"}, interval=INTERVAL),
    "table with spaces": plan({"destination_bigquery_table": "Größe-表 2"}, interval=INTERVAL),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_select_append_refill_and_truncate(analyze: Analyze, plan: TableSync) -> None:
    assert analyze(select_sql(plan), tables_of(plan)) == "ResolvedQueryStmtProto"
    assert kinds(analyze, append_sql(plan, 3), tables_of(plan)) == ["Assert", "Insert"]
    assert kinds(analyze, refill_sql(plan, 3), tables_of(plan)) == ["Assert", "Truncate", "Insert"]
    assert analyze(truncate_sql(plan), tables_of(plan)) == "ResolvedTruncateStmtProto"


@pytest.mark.parametrize("plan", [plan for plan in PLANS.values() if plan.interval], ids=lambda plan: plan.table_id)
def test_backfill(analyze: Analyze, plan: TableSync) -> None:
    interval = replace(INTERVAL, origin=StartOrigin.BACKFILL, latest=INTERVAL.end + timedelta(seconds=1))
    backfill = replace(plan, interval=interval)
    assert kinds(analyze, replace_interval_sql(backfill, 3), tables_of(plan)) == [
        "Assert",
        "Assert",
        "Delete",
        "Insert",
    ]


@pytest.mark.parametrize(("type_name", "granularity"), GRANULARITIES)
def test_one_insert_for_each_group_of_partitions(analyze: Analyze, type_name: str, granularity: str) -> None:
    name = f"c_{type_name.lower()}"
    parted = plan(schema=EVERY_TYPE, layout=TableLayout(name, granularity))
    zone = {"DATE": "", "DATETIME": "T00:00:00", "TIMESTAMP": "T00:00:00+00:00"}[type_name]
    groups = [frozenset({f"20{decade}-01-01{zone}"}) for decade in (10, 20, 30)]
    assert kinds(analyze, append_sql(parted, 3, groups), tables_of(parted)) == ["Assert", *["Insert"] * 3]


KEYED = {
    "one column": plan({"primary_key": "id"}, interval=INTERVAL),
    "every type": plan({"primary_key": "id"}, schema=EVERY_TYPE, interval=INTERVAL),
    "two columns": plan({"primary_key": "id,part"}, schema=EVERY_TYPE, interval=INTERVAL),
    "awkward names": plan({"primary_key": "id"}, schema=AWKWARD, interval=INTERVAL),
    "a key called like an alias": plan({"primary_key": "s,t"}, schema=AWKWARD, interval=INTERVAL),
    "without Smart Sync": plan({"primary_key": "id"}, schema=EVERY_TYPE),
    "a DATETIME as timestamp": plan(
        {"primary_key": "id"}, schema=EVERY_TYPE, interval=INTERVAL, timestamp_column="c_datetime"
    ),
    "all columns": plan({"primary_key": "id,name,updated_at"}, interval=INTERVAL),
    "all columns without Smart Sync": plan({"primary_key": "id,name,updated_at"}),
    # Few columns: the analyzer takes 60 ms for a statement on all types.
    **{
        f"{type_name} key": plan(
            {"primary_key": "key"}, schema=Schema((*USERS, Field("key", type_name))), interval=INTERVAL
        )
        for type_name in sorted(KEY_TYPES)
    },
}


@pytest.mark.parametrize("filtered", [False, True], ids=["any query", "partition filter"])
@pytest.mark.parametrize("plan", KEYED.values(), ids=KEYED.keys())
def test_merge(analyze: Analyze, plan: TableSync, filtered: bool) -> None:
    if filtered:
        plan = replace(plan, required_filter_column="updated_at")
    assert analyze(merge_sql(plan), tables_of(plan)) == "ResolvedMergeStmtProto"


@pytest.mark.parametrize("is_loaded", [True, False], ids=["loaded", "in the destination only"])
@pytest.mark.parametrize(
    ("type_name", "granularity"),
    [(name, granularity) for name, granularities in PARTITION_GRANULARITIES.items() for granularity in granularities],
)
def test_merge_into_named_partitions(analyze: Analyze, type_name: str, granularity: str, is_loaded: bool) -> None:
    column = Field(f"c_{type_name.lower()}" if is_loaded else "elsewhere", type_name)
    pruned = replace(
        KEYED["two columns"],
        layout=TableLayout(column.name, granularity),
        pruned_by=column,
        required_filter_column=column.name,
    )
    tables = tables_of(pruned)
    if not is_loaded:
        tables[pruned.table_id] = Schema((*pruned.schema, column))
    # The analyzer takes one statement at a time, and the script's variables as parameters.
    variables = {"sync_old_partitions": Field("old", type_name, REPEATED), "sync_old_is_null": "BOOL"}
    sql = merge_sql(pruned)
    for name in variables:
        sql = sql.replace(name, f"@{name}")
    statements = [statement.strip() for statement in sql.split(";\n")]
    [found] = [statement for statement in statements if statement.startswith("SET sync_old = ")]
    [checked] = [statement for statement in statements if statement.startswith("ASSERT ")]
    [merged] = [statement for statement in statements if statement.startswith("MERGE ")]
    assert analyze(found.removeprefix("SET sync_old = "), tables) == "ResolvedQueryStmtProto"
    assert analyze(checked, tables, **variables) == "ResolvedAssertStmtProto"
    assert analyze(merged, tables, **variables) == "ResolvedMergeStmtProto"


@pytest.mark.parametrize("type_name", sorted(CLUSTERING_TYPES & KEY_TYPES - {"BOOL"}))
def test_merge_into_a_clustered_table(analyze: Analyze, type_name: str) -> None:
    keyed = KEYED[f"{type_name} key"]
    clustered = replace(keyed, clustered_by=keyed.schema.field("key"))
    assert clustered_by(clustered.schema, clustered.schema, keyed.primary_key, keyed.primary_key) is not None
    bounds = dict.fromkeys(("sync_first_key", "sync_last_key"), type_name)
    # The analyzer takes the script's variables as parameters.
    sql = re.sub(r"^SET sync_\w+ = ", "", merge_sql(clustered), flags=re.MULTILINE)
    sql = sql.replace("BETWEEN sync_first_key AND sync_last_key", "BETWEEN @sync_first_key AND @sync_last_key")
    found = [analyze(statement, tables_of(clustered), **bounds) for statement in statements_of(sql)]
    assert found == ["ResolvedQueryStmtProto", "ResolvedQueryStmtProto", "ResolvedMergeStmtProto"]


def statements_of(script: str) -> list[str]:
    """Return the statements of a script and of its blocks, without what only a script has."""
    lines = re.sub(r"^(?:BEGIN|END IF;|END|IF .* THEN)\n?", "", script, flags=re.MULTILINE)
    statements = [statement.strip().removesuffix(";") for statement in lines.split(";\n")]
    return [each for each in statements if each and not each.startswith(("DECLARE", "COMMIT", "TRANSACTION"))]


@pytest.mark.parametrize("marks", [False, True], ids=["remove", "mark"])
@pytest.mark.parametrize("filtered", [False, True], ids=["any query", "partition filter"])
@pytest.mark.parametrize("plan", [each for each in KEYED.values() if each.interval is not None])
def test_merge_and_delete(analyze: Analyze, plan: TableSync, *, filtered: bool, marks: bool) -> None:
    plan = replace(
        plan,
        write_mode=WriteMode.MERGE,
        deletions=deletions(plan.schema, *plan.primary_key, marks=marks),
        required_filter_column="updated_at" if filtered else None,
    )
    assert plan.of_keys is not None
    tables = tables_of(plan) | {
        plan.table_id: plan.table_schema,
        plan.keys_table_id: Schema.from_bigquery(plan.of_keys.schema.staged),
    }
    found = []
    for statement in statements_of(merge_and_delete_sql(plan, 3, 5)):
        if "sync_counts." in statement:
            continue
        kind = analyze(re.sub(r"^SET sync_\w+ = ", "", statement), tables)
        found.append(kind.removeprefix("Resolved").removesuffix("StmtProto"))
    changes = ["Update", "Update"] if marks else ["Delete"]
    assert found == ["Assert", "Assert", "Query", "Merge", "Query", *changes]


RECONCILED = {
    **{name: replace(each, write_mode=WriteMode.MERGE) for name, each in KEYED.items()},
    "whole rows": plan(schema=EVERY_TYPE, write_mode=WriteMode.TRUNCATE),
    "whole rows with Smart Sync": plan(schema=EVERY_TYPE, interval=INTERVAL),
    "backfill of whole rows": plan(schema=EVERY_TYPE, interval=replace(INTERVAL, origin=StartOrigin.BACKFILL)),
}


@pytest.mark.parametrize("repairs", [False, True], ids=["report", "repair"])
@pytest.mark.parametrize("filtered", [False, True], ids=["any query", "partition filter"])
@pytest.mark.parametrize("plan", RECONCILED.values(), ids=RECONCILED.keys())
def test_reconcile(analyze: Analyze, plan: TableSync, *, filtered: bool, repairs: bool) -> None:
    compared = replace(
        plan,
        reconciliation=reconciliation(plan, repairs=repairs, mark="_deleted_at" if filtered else None),
        required_filter_column="updated_at" if filtered else None,
    )
    # Without Smart Sync the table must be as it was when the run looked at it.
    check = [] if plan.interval is not None else ["Assert"]
    found = [*check, "CreateTableAsSelect"] if repairs else ["CreateTableAsSelect", *check]
    changes = ["Query", "CreateTableAsSelect", "Delete", "Insert", "Merge" if plan.primary_key else "Insert"]
    assert reconciled(analyze, compared, tables_of(compared)) == [
        *("Assert", "CreateTableAsSelect", *found, *(changes if repairs else [])),
        "Query",
    ]


def reconciled(analyze: Analyze, compared: TableSync, tables: dict[str, Schema]) -> list[str]:
    """Analyze the statements of a comparison; return their kinds."""
    there = Schema((*compared.schema, Field("elsewhere", "STRING"), Field("_deleted_at", "TIMESTAMP")))
    flags = [Field(f"d{number}", "BOOL") for number, _ in enumerate(columns_compared(compared))]
    numbers = [Field("copies", "INT64"), Field("here", "INT64")]
    found = Schema((Field("row_key", "STRING"), Field("kind", "STRING"), *(flags if compared.primary_key else numbers)))
    tables = tables | {compared.table_id: there, SOURCE_ROWS: compared.schema, FOUND: found, KEPT: there}
    kinds = []
    for statement in statements_of(reconcile_sql(compared, 3, 0)):
        statement = statement.removeprefix("SET sync_counts = ")
        # Variables are the script's, which is not analyzed as a whole.
        kind = analyze(re.sub(r"\bsync_counts\.\w+", "1", statement), tables)
        kinds.append(kind.removeprefix("Resolved").removesuffix("StmtProto"))
    return kinds


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_replace(analyze: Analyze, layout: TableLayout) -> None:
    replacing = plan(schema=EVERY_TYPE, interval=INTERVAL, write_mode=WriteMode.REPLACE, layout=layout)
    tables = tables_of(replacing)
    assert kinds(analyze, replace_sql(replacing, 3), tables) == ["Assert", "CreateTableAsSelect"]
    assert kinds(analyze, build_sql(replacing, 3), tables) == ["Assert", "CreateTable", "Truncate", "Insert"]
    renamed = ";\n".join(re.findall(r"(?:ALTER|DROP) TABLE [^;]*", swap_sql(replacing)))
    # A declared key is dropped before the renaming, and declared after it.
    altered = ["AlterTable"] * (5 if layout.primary_key else 4)
    assert kinds(analyze, renamed, tables) == ["AlterTableSetOptions", *altered, "Drop"]


@pytest.mark.parametrize("keyed", KEYED.values(), ids=KEYED.keys())
def test_replace_by_the_newest_of_each_key(analyze: Analyze, keyed: TableSync) -> None:
    replacing = replace(keyed, write_mode=WriteMode.REPLACE)
    assert kinds(analyze, replace_sql(replacing, 3), tables_of(replacing)) == ["Assert", "CreateTableAsSelect"]


@pytest.mark.parametrize("type_name", ["TIMESTAMP", "DATETIME"])
@pytest.mark.parametrize("filtered", [False, True], ids=["any query", "partition filter"])
def test_latest_timestamp(analyze: Analyze, type_name: str, filtered: bool) -> None:
    column = f"c_{type_name.lower()}"
    table = ExistingTable(EVERY_TYPE, TableLayout("c_date"), "c_date" if filtered else None)
    sql = Question("my-project.production.users", column, table, INTERVAL.end).sql(None)
    assert analyze(sql, {"my-project.production.users": EVERY_TYPE}) == "ResolvedQueryStmtProto"


def test_latest_timestamp_of_a_column_called_like_the_answer(analyze: Analyze) -> None:
    schema = Schema((Field("latest", "TIMESTAMP"), Field("last", "TIMESTAMP"), Field("t", "TIMESTAMP")))
    table = ExistingTable(schema, TableLayout("t"), "t")
    for column in schema.names:
        sql = Question("p.d.t", column, table, INTERVAL.end).sql(None)
        assert analyze(sql, {"p.d.t": schema}) == "ResolvedQueryStmtProto"


def test_latest_timestamps_of_several_tables(analyze: Analyze) -> None:
    tables = {f"p.d.{type_}": Schema((Field("a", type_),)) for type_ in ("TIMESTAMP", "DATETIME")}
    questions = [
        Question(name, "a", ExistingTable(schema, TableLayout("a")), INTERVAL.end) for name, schema in tables.items()
    ]
    assert analyze(together_sql(questions), tables) == "ResolvedQueryStmtProto"


@pytest.mark.parametrize("field", EVERY_TYPE, ids=EVERY_TYPE.names)
def test_add_column(analyze: Analyze, field: Field) -> None:
    added = replace(field, name="added")
    assert analyze(add_columns_sql("p.d.t", [added]), {"p.d.t": USERS}) == "ResolvedAlterTableStmtProto"


@pytest.mark.parametrize(
    ("there", "wider"), sorted(chain.from_iterable(((old, new) for new in types) for old, types in WIDENINGS.items()))
)
def test_widen_column(analyze: Analyze, there: str, wider: str) -> None:
    existing = Schema((Field("n", there),))
    assert analyze(set_type_sql("p.d.t", Field("n", wider)), {"p.d.t": existing}) == "ResolvedAlterTableStmtProto"


def test_drop_not_null(analyze: Analyze) -> None:
    assert analyze(drop_not_null_sql("p.d.t", USERS.field("id")), {"p.d.t": USERS}) == "ResolvedAlterTableStmtProto"


def test_the_clock(analyze: Analyze) -> None:
    assert analyze("SELECT 1", EMPTY) == "ResolvedQueryStmtProto"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        pytest.param("SELECT t.`nobody` FROM `p.d.t` AS t", "Name nobody not found", id="unknown column"),
        pytest.param("SELECT 1 FROM `p.d.other` AS t", "Table not found", id="unknown table"),
        pytest.param("SELECT t.id = t.name FROM `p.d.t` AS t", "No matching signature", id="types"),
        pytest.param(
            "CREATE OR REPLACE TABLE `p.d.n` (`id` DATE) AS SELECT t.id AS id FROM `p.d.t` AS t",
            "cannot be coerced",
            id="column type",
        ),
        pytest.param("CREATE TABLE `p.d.n` (`id` INT64 OPTIONS(descriptio='x'))", "Unknown option", id="option"),
        pytest.param("CREATE TABLE `p.d.n` (`id` JSON) PARTITION BY `id`", "PARTITION BY", id="partition by JSON"),
        pytest.param("CREATE TABLE `p.d.n` (`id` INT64) CLUSTER BY `nobody`", "Unrecognized name", id="clustering"),
        pytest.param(
            "SELECT 1 FROM `p.d.t` AS t WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY t.f) = 1",
            "Partitioning by expressions of type FLOAT64 is not allowed",
            id="FLOAT64 in a key",
        ),
        pytest.param("ALTER TABLE `p.d.t` ALTER COLUMN nobody DROP NOT NULL", "Column not found", id="alteration"),
    ],
)
def test_the_analyzer_refuses(analyze: Analyze, sql: str, reason: str) -> None:
    schema = Schema((*USERS, Field("f", "FLOAT64")))
    with pytest.raises(ZetaSQLError, match=reason):
        analyze(sql, {"p.d.t": schema})


# Columns that only another BigQuery table has, alone, in arrays and in one another.
NESTED = Schema(
    (
        Field("id", "INT64", REQUIRED),
        Field("updated_at", "TIMESTAMP"),
        Field("short", "NUMERIC", parameters="10, 2"),
        Field("code", "STRING", parameters="20"),
        *(Field(f"range_{name.lower()}", RANGE, parameters=name) for name in ("DATE", "DATETIME", "TIMESTAMP")),
        Field("pause", INTERVAL_TYPE),
        Field("pauses", INTERVAL_TYPE, REPEATED),
        Field("ranges", RANGE, REPEATED, parameters="DATE"),
        Field("documents", "JSON", REPEATED),
        Field("places", "GEOGRAPHY", REPEATED),
        Field(
            "person",
            STRUCT,
            description="a person",
            fields=(
                Field("select", "STRING", REQUIRED, "a name"),
                Field("document", "JSON"),
                Field(
                    "phones", STRUCT, REPEATED, fields=(Field("since", RANGE, parameters="DATE"), Field("n", "JSON"))
                ),
            ),
        ),
        Field(
            "people",
            STRUCT,
            REPEATED,
            fields=(Field("pauses", INTERVAL_TYPE, REPEATED), Field("tags", "JSON", REPEATED)),
        ),
    )
)
SOURCE = "my-project.raw.events"


def selected(
    source: Schema, read: Schema | None = None, parameters: dict[str, str] | None = None, **parts: object
) -> TableSync:
    """Return a plan by which one query moves the rows of a table with the columns of `source`."""
    config = plan(parameters).config.transformation
    read = read or read_schema(source, config)
    where = Filter(INTERVAL, "updated_at", source.field("updated_at").type, includes_null=True, partition_column="id")
    sql = rows_sql(quoted(SOURCE), source, read.names, where)
    selection = Selection(sql, Schema(tuple(map(source.field, read.names))), "EU", "my-project")
    return replace(
        plan(parameters, schema=transform_schema(read, config), interval=INTERVAL, **parts),
        read_schema=read,
        selection=selection,
    )


def analyze_all(analyze: Analyze, moved: TableSync, source: Schema) -> None:
    """Analyze each statement by which rows of `source` can come to the destination, read by workers or not."""
    tables = {**tables_of(moved), SOURCE: source}
    key = {"primary_key": ("id",)}
    assert analyze(append_sql(moved, 0), tables) == "ResolvedInsertStmtProto"
    assert kinds(analyze, refill_sql(moved, 0), tables) == ["Truncate", "Insert"]
    assert analyze(merge_sql(replace(moved, **key)), tables) == "ResolvedMergeStmtProto"
    assert analyze(replace_sql(moved, 0), tables) == "ResolvedCreateTableAsSelectStmtProto"
    assert moved.selection is not None
    reading = functools.partial(reading_sql, moved.selection.sql, moved.selection.schema, moved.read_schema)
    assert analyze(reading(), tables) == "ResolvedQueryStmtProto"
    assert analyze(reading(service_columns=SERVICE_COLUMNS), tables) == "ResolvedQueryStmtProto"
    staged = replace(moved, selection=None)
    assert kinds(analyze, append_sql(staged, 3), tables) == ["Assert", "Insert"]
    for primary_key in ((), ("id",)):
        for each in (moved, staged):
            compared = replace(each, primary_key=primary_key)
            compared = replace(compared, reconciliation=reconciliation(compared, repairs=True))
            assert reconciled(analyze, compared, tables)[-2] == ("Merge" if primary_key else "Insert")
    assert analyze(merge_sql(replace(staged, **key)), tables) == "ResolvedMergeStmtProto"


@pytest.mark.parametrize(
    "source",
    [pytest.param(EVERY_TYPE, id="every type"), pytest.param(NESTED, id="nested"), pytest.param(AWKWARD, id="awkward")],
)
def test_rows_of_a_source_in_bigquery(analyze: Analyze, source: Schema) -> None:
    analyze_all(analyze, selected(source), source)
    assert analyze(create_table_sql("p.d.t", source, TableLayout()), EMPTY) == "ResolvedCreateTableStmtProto"


@pytest.mark.parametrize(("there", "wanted"), [*SURE_CASTS, *CHECKED_CASTS], ids=lambda name: name.lower())
def test_casts_of_a_source_in_bigquery(analyze: Analyze, there: str, wanted: str) -> None:
    source = Schema((Field("id", "INT64"), Field("v", there), Field("updated_at", "TIMESTAMP")))
    overrides = {"transformation_config": json.dumps({"type_overrides": {"v": wanted}})}
    moved = (
        selected(source, parameters=overrides)
        if wanted != "GEOGRAPHY"
        else selected(
            source, read=Schema(tuple(replace(field, type=wanted) if field.name == "v" else field for field in source))
        )
    )
    # NULL in the key is refused.
    moved = replace(moved, read_schema=moved.read_schema.with_required(["id"]))
    analyze_all(analyze, moved, source)


def test_fewer_digits_than_a_source_in_bigquery(analyze: Analyze) -> None:
    source = Schema(
        (
            *(Field("id", "INT64"), Field("updated_at", "TIMESTAMP")),
            *(Field("n", "NUMERIC"), Field("ns", "NUMERIC", REPEATED), Field("big", "BIGNUMERIC", parameters="40, 3")),
        )
    )
    read = Schema(tuple(replace(field, parameters="10, 2") if "NUMERIC" in field.type else field for field in source))
    moved = selected(source, read)
    assert append_sql(moved, 0).count("would be rounded") == 3
    analyze_all(analyze, moved, source)


def test_transformations_of_a_source_in_bigquery(analyze: Analyze) -> None:
    config = {
        "field_mappings": {"c_string": "q", "c_date": "day"},
        "exclude_fields": ["c_json"],
        "type_overrides": {"a_int64": "JSON"},
        "hash_fields": ["c_bytes", "part", "c_numeric", "c_timestamp"],
        "constant_fields": {
            "text": 'a "quote"\nand more',
            "yes": True,
            "least": -(2**63),
            "tiny": 5e-324,
            "huge": 1e300,
        },
    }
    analyze_all(analyze, selected(EVERY_TYPE, parameters={"transformation_config": json.dumps(config)}), EVERY_TYPE)


def test_all_casts_are_known() -> None:
    allowed = {
        (old, new) for casts in (LOSSLESS_CASTS, EXPLICIT_CASTS) for old, types in casts.items() for new in types
    }
    assert SURE_CASTS.keys() | CHECKED_CASTS.keys() == allowed
    assert not SURE_CASTS.keys() & CHECKED_CASTS.keys()


def test_every_type_is_in_the_statements() -> None:
    assert {field.type for field in EVERY_TYPE} == ARROW_TYPES.keys()
