from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.config import (
    AutoSchemaConfig,
    DestinationConfig,
    SmartSyncConfig,
    SyncConfig,
)
from sync_pipeline.parameters.identifiers import SourceTable, TableId
from sync_pipeline.parameters.table import PARAMETERS
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.smart_sync.backfill import Backfill
from tests import plans
from tests.parameter_sets import (
    BASE_QUERY,
    BIGQUERY,
    CONNECTION_STRING,
    MONGODB,
    NULLS_LEFT_OUT,
    POSTGRESQL,
    SMART_SYNC,
    WITH_NULLS,
    problems,
)

JULY = {"interval_start": "2025-07-01T00:00:00Z", "interval_end": "2025-08-01T00:00:00Z"}

NOT_A_NAME = (
    "it looks like the name of a secret, but the format is projects/PROJECT/secrets/SECRET/versions/VERSION (a "
    "regional "
    "one projects/PROJECT/locations/LOCATION/secrets/SECRET/versions/VERSION), or env:VARIABLE outside Dataflow"
)


def test_defaults() -> None:
    config = SyncConfig.from_parameters(POSTGRESQL)
    assert config == SyncConfig(
        data_source="postgresql",
        source=config.source,
        destination=DestinationConfig(
            project="my-project",
            dataset="production",
            table="users",
            write_disposition="WRITE_APPEND",
            create_disposition="CREATE_IF_NEEDED",
            delete_existing_table=False,
        ),
        smart_sync=None,
        auto_schema=None,
        transformation=TransformationConfig(),
        primary_key=(),
        schema_evolution="fail",
        dead_letter_table=None,
        dead_letter_expiration_days=None,
        batch_size=1000,
        num_partitions=None,
        max_retries=3,
        dry_run=False,
        warnings=(),
    )


def test_smart_sync() -> None:
    config = SyncConfig.from_parameters(SMART_SYNC | {"sync_all_on_empty_table": "FALSE", "fallback_days": "7"})
    assert config.smart_sync == SmartSyncConfig(
        "updated_at",
        sync_all_on_empty_table=False,
        fallback_days=7,
        lookback=timedelta(),
        settle=timedelta(seconds=1),
        max_hold=timedelta(hours=1),
        include_null_timestamps=False,
    )
    assert config.warnings == ()


def test_smart_sync_of_rows_that_are_merged() -> None:
    given = POSTGRESQL | {
        "enable_smart_sync": "true",
        "primary_key": "id, Part",
        "smart_sync_lookback_seconds": "3600",
        "smart_sync_settle_seconds": "0",
        "smart_sync_max_hold_seconds": "60",
        "smart_sync_null_timestamps": "include",
    }
    config = SyncConfig.from_parameters(given)
    assert config.primary_key == ("id", "Part")
    assert config.smart_sync == SmartSyncConfig(
        "updated_at",
        sync_all_on_empty_table=True,
        fallback_days=1,
        lookback=timedelta(hours=1),
        settle=timedelta(),
        max_hold=timedelta(minutes=1),
        include_null_timestamps=True,
    )
    assert config.warnings == ()


def test_backfill() -> None:
    given = POSTGRESQL | JULY | {"enable_smart_sync": "true", "primary_key": "id"}
    smart_sync = SyncConfig.from_parameters(given | {"smart_sync_null_timestamps": "include"}).smart_sync
    assert smart_sync is not None
    assert smart_sync.backfill == Backfill(datetime(2025, 7, 1, tzinfo=UTC), datetime(2025, 8, 1, tzinfo=UTC))
    assert not smart_sync.include_null_timestamps


def test_schema_evolution_and_dead_letters() -> None:
    given = {"schema_evolution": "add", "dead_letter_table": "other-project.lost.Größe-表 2"}
    config = SyncConfig.from_parameters(POSTGRESQL | given)
    assert (config.schema_evolution, config.dead_letter_table) == (
        "add",
        TableId("other-project", "lost", "Größe-表 2"),
    )


def test_dead_letter_table_of_a_domain_scoped_project() -> None:
    config = SyncConfig.from_parameters(POSTGRESQL | {"dead_letter_table": "example.com:my-project.d.t"})
    assert config.dead_letter_table == TableId("example.com:my-project", "d", "t")
    assert str(config.dead_letter_table) == "example.com:my-project.d.t"


def test_smart_sync_timestamp_column_may_have_any_name() -> None:
    query = BASE_QUERY.replace("updated_at", '"Geändert am"')
    given = {"smart_sync_timestamp_column": "Geändert am", "postgresql_base_query": query}
    config = SyncConfig.from_parameters(SMART_SYNC | given)
    assert config.smart_sync is not None
    assert config.smart_sync.timestamp_column == "Geändert am"


def test_placeholders_that_are_compared_with_what_cannot_be_read_are_warned_of() -> None:
    query = "SELECT * FROM changes('{start_timestamp}', '{end_timestamp}')"
    (warning,) = [
        warning
        for warning in SyncConfig.from_parameters(SMART_SYNC | {"postgresql_base_query": query}).warnings
        if "placeholders" in warning
    ]
    assert warning == (
        "postgresql_base_query compares the placeholders in a form that cannot be analysed: make sure that it "
        "compares updated_at, because with another column runs would miss changed rows"
    )


@pytest.mark.parametrize("query", ["SELECT * FROM users", BASE_QUERY])
def test_smart_sync_by_postgresql_query(query: str) -> None:
    given = POSTGRESQL | {"enable_smart_sync": "true", "postgresql_query": query}
    assert SyncConfig.from_parameters(given).warnings == ()


def test_auto_schema() -> None:
    given = POSTGRESQL | {
        "enable_auto_schema": "true",
        "source_table_for_schema": "public.users",
        "partition_field": "created_at",
        "partition_granularity": "MONTH",
        "clustering_fields": "id, status",
    }
    assert SyncConfig.from_parameters(given).auto_schema == AutoSchemaConfig(
        source_table=SourceTable("public", "users"),
        partition_field="created_at",
        partition_field_given=True,
        partition_granularity="MONTH",
        clustering_fields=("id", "status"),
    )


@pytest.mark.parametrize("given", [{}, {"partition_field": "updated_at"}], ids=["left out", "sent as the default"])
def test_default_partition_field_was_not_asked_for(given: dict[str, str]) -> None:
    config = SyncConfig.from_parameters(POSTGRESQL | {"enable_auto_schema": "true"} | given)
    assert config.auto_schema == AutoSchemaConfig(None, "updated_at", False, "DAY", ())


@pytest.mark.parametrize(
    ("text", "table"),
    [
        pytest.param("users", SourceTable(None, "users"), id="without schema"),
        pytest.param("Public.Users", SourceTable("public", "users"), id="bare names fold to lower case"),
        pytest.param('"Public"."Order Items"', SourceTable("Public", "Order Items"), id="quoted"),
        pytest.param('public."a.""b"', SourceTable("public", 'a."b'), id="quotes and dot inside quotes"),
        pytest.param("größe.maß$1", SourceTable("größe", "maß$1"), id="letters and dollar"),
    ],
)
def test_source_table(text: str, table: SourceTable) -> None:
    config = SyncConfig.from_parameters(POSTGRESQL | {"enable_auto_schema": "true", "source_table_for_schema": text})
    assert config.auto_schema is not None
    assert config.auto_schema.source_table == table


def test_table_id() -> None:
    assert SyncConfig.from_parameters(POSTGRESQL).destination.table_id == "my-project.production.users"


def test_domain_scoped_project() -> None:
    config = SyncConfig.from_parameters(POSTGRESQL | {"destination_bigquery_project": "example.com:my-project"})
    assert config.destination.table_id == "example.com:my-project.production.users"


def test_table_name_with_letters_of_other_scripts() -> None:
    config = SyncConfig.from_parameters(POSTGRESQL | {"destination_bigquery_table": "Größe-表 2_x"})
    assert config.destination.table == "Größe-表 2_x"


def test_empty_texts_count_as_not_given() -> None:
    empty = {parameter.name: "" for parameter in PARAMETERS}
    assert SyncConfig.from_parameters(empty | POSTGRESQL) == SyncConfig.from_parameters(POSTGRESQL)


@pytest.mark.parametrize("parameters", [POSTGRESQL, SMART_SYNC, MONGODB, BIGQUERY])
def test_launchers_may_send_every_default(parameters: dict[str, str]) -> None:
    """They are not told the default of `write_disposition`, which appends all rows on purpose if it is sent."""
    defaults = {parameter.name: "" if parameter.asks else parameter.default or "" for parameter in PARAMETERS}
    assert SyncConfig.from_parameters(defaults | parameters) == SyncConfig.from_parameters(parameters)
    sent = SyncConfig.from_parameters(defaults | parameters | {"write_disposition": "WRITE_APPEND"})
    assert sent.destination.write_disposition_given


def test_defaults_sent_with_a_connection_string_and_a_query() -> None:
    defaults = {parameter.name: parameter.default or "" for parameter in PARAMETERS}
    mongodb = MONGODB | {"mongodb_host": "", "mongodb_connection_string": CONNECTION_STRING}
    bigquery = BIGQUERY | {"source_bigquery_table": "", "source_bigquery_query": "SELECT 1 AS x"}
    assert SyncConfig.from_parameters(defaults | mongodb).warnings == ()
    assert SyncConfig.from_parameters(defaults | bigquery).warnings == ()


@pytest.mark.parametrize("parameters", [POSTGRESQL, SMART_SYNC, MONGODB, BIGQUERY])
def test_travels_by_pickle(parameters: dict[str, str]) -> None:
    given = parameters | {
        "enable_auto_schema": "true",
        "transformation_config": '{"field_mappings": {"a": "b"}, "hash_fields": ["c"], "constant_fields": {"d": 1.5}}',
    }
    config = SyncConfig.from_parameters(given)
    assert pickle.loads(pickle.dumps(config)) == config


WHOLE_NUMBER = "write a whole number from"


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            POSTGRESQL | {"data_source": "Postgres"},
            "data_source is 'Postgres': write postgresql, mongodb or bigquery; did you mean postgresql?",
            id="choice with a near one",
        ),
        pytest.param(
            POSTGRESQL | {"data_source": "oracle"},
            "data_source is 'oracle': write postgresql, mongodb or bigquery",
            id="choice with none near",
        ),
        pytest.param(
            POSTGRESQL | {"write_disposition": "write_truncate"},
            "write_disposition is 'write_truncate': write WRITE_APPEND or WRITE_TRUNCATE; did you mean WRITE_TRUNCATE?",
            id="choice in lower case",
        ),
        pytest.param(POSTGRESQL | {"dry_run": "yes"}, "dry_run is 'yes': write true or false", id="boolean"),
        pytest.param(
            SMART_SYNC | {"smart_sync_time_zone": "America/New York"},
            "smart_sync_time_zone is 'America/New York': write a name of the IANA time zone database, such as "
            "Europe/London; did you mean America/New_York?",
            id="time zone",
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_port": "0"},
            f"postgresql_port is '0': {WHOLE_NUMBER} 1 to 65535",
            id="port below",
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_port": "65536"},
            f"postgresql_port is '65536': {WHOLE_NUMBER} 1 to 65535",
            id="port above",
        ),
        pytest.param(
            MONGODB | {"mongodb_port": "27017x"},
            f"mongodb_port is '27017x': {WHOLE_NUMBER} 1 to 65535",
            id="port is no number",
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_port": "٥٤٣٢"},
            f"postgresql_port is '٥٤٣٢': {WHOLE_NUMBER} 1 to 65535",
            id="digits of another script",
        ),
        pytest.param(
            POSTGRESQL | {"batch_size": "0"}, f"batch_size is '0': {WHOLE_NUMBER} 1 to 1000000", id="batch size below"
        ),
        pytest.param(
            POSTGRESQL | {"batch_size": "1000001"},
            f"batch_size is '1000001': {WHOLE_NUMBER} 1 to 1000000",
            id="batch size above",
        ),
        pytest.param(
            POSTGRESQL | {"max_retries": "-1"}, f"max_retries is '-1': {WHOLE_NUMBER} 0 to 20", id="retries below"
        ),
        pytest.param(
            POSTGRESQL | {"max_retries": "21"}, f"max_retries is '21': {WHOLE_NUMBER} 0 to 20", id="retries above"
        ),
        pytest.param(
            SMART_SYNC | {"fallback_days": "0"},
            f"fallback_days is '0': {WHOLE_NUMBER} 1 to 36500",
            id="fallback days below",
        ),
        pytest.param(
            SMART_SYNC | {"fallback_days": "36501"},
            f"fallback_days is '36501': {WHOLE_NUMBER} 1 to 36500",
            id="fallback days above",
        ),
        *(
            pytest.param(
                SMART_SYNC | {"primary_key": "id", name: text},
                f"{name} is '{text}': {WHOLE_NUMBER} 0 to {most}",
                id=f"{name} {text}",
            )
            for name, most in (
                ("smart_sync_lookback_seconds", 31536000),
                ("smart_sync_settle_seconds", 86400),
                ("smart_sync_max_hold_seconds", 604800),
            )
            for text in ("-1", str(most + 1), "1.5")
        ),
        pytest.param(
            SMART_SYNC | {"primary_key": "id", "smart_sync_null_timestamps": "included"},
            "smart_sync_null_timestamps is 'included': write exclude or include; did you mean include?",
            id="NULL timestamps",
        ),
        pytest.param(
            POSTGRESQL | {"schema_evolution": "ADD"},
            "schema_evolution is 'ADD': write fail, add or ignore; did you mean add?",
            id="schema evolution in capitals",
        ),
        pytest.param(
            POSTGRESQL | {"batch_size": "9" * 5000},
            f"batch_size is '{'9' * 97}...': {WHOLE_NUMBER} 1 to 1000000",
            id="thousands of digits",
        ),
        pytest.param(
            MONGODB | {"mongodb_query": '{\n  "status": active}'},
            "mongodb_query is '{\\n  \"status\": active}': it is not JSON: Expecting value at line 2, column 13",
            id="JSON with position",
        ),
        pytest.param(
            MONGODB | {"mongodb_projection": '["name"]'},
            'mongodb_projection is \'["name"]\': it must be a JSON object, {"key": value}',
            id="JSON that is no object",
        ),
        pytest.param(
            MONGODB | {"mongodb_query": '{"a": NaN}'},
            "mongodb_query is '{\"a\": NaN}': NaN is not a JSON value",
            id="JSON constant that is none",
        ),
        pytest.param(
            MONGODB | {"mongodb_query": '{"a": {"c": 0, "b": 1, "b": 2}}'},
            'mongodb_query is \'{"a": {"c": 0, "b": 1, "b": 2}}\': the key \'b\' is a duplicate',
            id="JSON key twice",
        ),
        pytest.param(
            POSTGRESQL | {"transformation_config": "{"},
            "transformation_config is '{': it is not JSON: Expecting property name enclosed in double quotes at "
            "line 1, column 2",
            id="transformation is not JSON",
        ),
        pytest.param(
            POSTGRESQL | {"transformation_config": '{"hash_field": ["a"]}'},
            "transformation_config.hash_field: unknown key; did you mean hash_fields?",
            id="transformation with an unknown key",
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_password": "projects/p/secrets/s"},
            f"postgresql_password cannot be used: {NOT_A_NAME}",
            id="half a secret name",
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_password": "env:MY-PASSWORD"},
            f"postgresql_password cannot be used: {NOT_A_NAME}",
            id="no variable's name",
        ),
    ],
)
def test_wrong_value(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]


PROJECT_RULE = (
    "a project id has 6 to 30 lower-case letters, digits and dashes, begins with a letter and does not end in a dash "
    "(older ones are written example.com:project)"
)
COLUMN_RULE = (
    "a BigQuery column name has ASCII letters, digits and underscores and begins with a letter or an underscore"
)
AUTO_SCHEMA = POSTGRESQL | {"enable_auto_schema": "true"}
SOURCE_TABLE_RULE = 'write schema.table or table, with other names in double quotes: public."Order Items"'


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        pytest.param("destination_bigquery_project", "My-Project", PROJECT_RULE, id="project in upper case"),
        pytest.param("destination_bigquery_project", "short", PROJECT_RULE, id="project too short"),
        pytest.param("destination_bigquery_project", "p" * 31, PROJECT_RULE, id="project too long"),
        pytest.param("destination_bigquery_project", "my-project-", PROJECT_RULE, id="project ends in a dash"),
        pytest.param("destination_bigquery_project", "my-project ", PROJECT_RULE, id="project with a space"),
        pytest.param(
            "destination_bigquery_dataset",
            "my-dataset",
            "a dataset name has letters, digits and underscores, at most 1,024",
            id="dataset with a dash",
        ),
        pytest.param(
            "destination_bigquery_dataset",
            "project.dataset",
            "give only the dataset; the project has a separate parameter",
            id="dataset with its project",
        ),
        pytest.param(
            "destination_bigquery_dataset",
            "project:dataset",
            "give only the dataset; the project has a separate parameter",
            id="dataset with its project in legacy SQL",
        ),
        pytest.param(
            "destination_bigquery_table",
            "dataset:table",
            "give only the table; project and dataset have separate parameters",
            id="table with its dataset in legacy SQL",
        ),
        pytest.param(
            "destination_bigquery_table",
            "dataset.table",
            "give only the table; project and dataset have separate parameters",
            id="table with its dataset",
        ),
        pytest.param(
            "destination_bigquery_table",
            "users$20260101",
            "partition decorators ($) and wildcards (*) are not table names",
            id="partition decorator",
        ),
        pytest.param(
            "destination_bigquery_table",
            "events_*",
            "partition decorators ($) and wildcards (*) are not table names",
            id="wildcard",
        ),
        pytest.param(
            "destination_bigquery_table",
            "a/b;c",
            "a table name has letters, digits, underscores, dashes and spaces, not '/' ';'",
            id="table with other characters",
        ),
        pytest.param("partition_field", "updated at", COLUMN_RULE, id="column with a space"),
        pytest.param("partition_field", "1st", COLUMN_RULE, id="column that begins with a digit"),
        pytest.param(
            "partition_field",
            "_partition_date",
            "BigQuery reserves column names that begin with _PARTITION",
            id="reserved column",
        ),
        pytest.param("clustering_fields", "id,a b", f"'a b': {COLUMN_RULE}", id="clustering by no column"),
        pytest.param(
            "clustering_fields",
            "id,,status",
            "an item is empty; separate the columns by single commas",
            id="clustering with an empty item",
        ),
        pytest.param("clustering_fields", "id,ID", "a column is named twice", id="clustering twice by one column"),
        pytest.param(
            "clustering_fields",
            "a,b,c,d,e",
            "BigQuery allows at most 4 columns, but 5 are given",
            id="clustering by five columns",
        ),
        pytest.param("primary_key", "id,iD", "a column is named twice", id="key twice by one column"),
        pytest.param("primary_key", "größe", f"'größe': {COLUMN_RULE}", id="key by no column"),
        pytest.param(
            "primary_key",
            ",".join(f"c{number}" for number in range(17)),
            "BigQuery allows at most 16 columns, but 17 are given",
            id="key of 17 columns",
        ),
        pytest.param(
            "dead_letter_table", "lost.rows", "write project.dataset.table", id="dead letters without project"
        ),
        pytest.param("dead_letter_table", "p.d.t.x", "write project.dataset.table", id="dead letters in four"),
        pytest.param("dead_letter_table", "Project-1.d.t", f"'Project-1': {PROJECT_RULE}", id="dead letters' project"),
        pytest.param(
            "dead_letter_table",
            "project-1.d-1.t",
            "'d-1': a dataset name has letters, digits and underscores, at most 1,024",
            id="dead letters' dataset",
        ),
        pytest.param(
            "dead_letter_table",
            "project-1.d.t$20260101",
            "'t$20260101': partition decorators ($) and wildcards (*) are not table names",
            id="dead letters' table",
        ),
        pytest.param("source_table_for_schema", "app.public.users", SOURCE_TABLE_RULE, id="source table in three"),
        pytest.param("source_table_for_schema", "order items", SOURCE_TABLE_RULE, id="source table unquoted"),
        pytest.param("source_table_for_schema", 'public."users', SOURCE_TABLE_RULE, id="source table half quoted"),
    ],
)
def test_wrong_name(name: str, text: str, reason: str) -> None:
    assert problems(AUTO_SCHEMA | {name: text}) == [f"{name} is {text!r}: {reason}"]


def test_names_that_are_too_long() -> None:
    given = {
        "destination_bigquery_dataset": "d" * 1025,
        "destination_bigquery_table": "ä" * 513,
        "partition_field": "c" * 301,
    }
    assert [problem.split(": ", 1)[1] for problem in problems(AUTO_SCHEMA | given)] == [
        "a dataset name has letters, digits and underscores, at most 1,024",
        "a table name has at most 1,024 bytes in UTF-8",
        "a BigQuery column name has at most 300 characters",
    ]


def test_names_of_the_greatest_length() -> None:
    given = {
        "destination_bigquery_dataset": "d" * 1024,
        "destination_bigquery_table": "ä" * 512,
        "partition_field": "c" * 300,
        "clustering_fields": "a,b,c,d",
    }
    SyncConfig.from_parameters(AUTO_SCHEMA | given)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            {key: value for key, value in POSTGRESQL.items() if key != "destination_bigquery_table"},
            "destination_bigquery_table is missing: give, for example, --destination_bigquery_table=organizations",
            id="destination_bigquery_table",
        ),
        pytest.param(
            {key: value for key, value in POSTGRESQL.items() if key != "data_source"},
            "data_source is missing: give, for example, --data_source=postgresql",
            id="data_source",
        ),
    ],
)
def test_missing(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            SMART_SYNC | {"write_disposition": "WRITE_TRUNCATE"},
            "write_disposition is 'WRITE_TRUNCATE' and enable_smart_sync is true: each run would keep only the rows "
            "of its own interval; use WRITE_APPEND, or disable Smart Sync",
            id="truncate with Smart Sync",
        ),
        pytest.param(
            POSTGRESQL | {"write_disposition": "WRITE_TRUNCATE", "primary_key": "id"},
            "primary_key merges rows into the existing ones, but write_disposition is 'WRITE_TRUNCATE', which "
            "replaces all rows: omit one of them",
            id="truncate with a key",
        ),
        pytest.param(
            POSTGRESQL | JULY,
            "interval_start and interval_end need the timestamp column of Smart Sync: set enable_smart_sync=true",
            id="backfill without Smart Sync",
        ),
        pytest.param(
            SMART_SYNC | JULY | {"delete_existing_table": "true"},
            "delete_existing_table is true, but interval_start and interval_end need the table's other rows: omit one "
            "of them",
            id="backfill of a table that is replaced",
        ),
        pytest.param(
            SMART_SYNC | JULY | {"write_disposition": "WRITE_TRUNCATE"},
            "write_disposition is 'WRITE_TRUNCATE' and enable_smart_sync is true: each run would keep only the rows "
            "of its own interval; use WRITE_APPEND, or disable Smart Sync",
            id="backfill with truncate",
        ),
        pytest.param(
            SMART_SYNC | JULY | {"interval_end": ""},
            "interval_end is missing: give, for example, --interval_end=2025-08-01T00:00:00Z",
            id="backfill without an end",
        ),
        pytest.param(
            SMART_SYNC | JULY | {"interval_end": "2025-07-01T02:00:00+02:00"},
            "interval_start is 2025-07-01T00:00:00+00:00, and interval_end is not after it: exchange or correct them",
            id="empty backfill",
        ),
        pytest.param(
            SMART_SYNC | JULY | {"interval_end": "2025-08-01T00:00:00"},
            "of interval_start and interval_end only one has a time zone: give both alike",
            id="backfill with one time zone",
        ),
        pytest.param(
            SMART_SYNC | {"smart_sync_lookback_seconds": "1"},
            "smart_sync_lookback_seconds reads rows again, and without primary_key they would be appended again: give "
            "primary_key, or omit the lookback",
            id="lookback without a key",
        ),
        pytest.param(
            POSTGRESQL | {"enable_smart_sync": "true", "smart_sync_null_timestamps": "include"},
            "smart_sync_null_timestamps is 'include', and without primary_key every run would append those rows again: "
            "give primary_key, or exclude them",
            id="NULL timestamps without a key",
        ),
        pytest.param(
            SMART_SYNC | {"smart_sync_null_timestamps": "include", "primary_key": "id"},
            f"smart_sync_null_timestamps is 'include', but postgresql_base_query {NULLS_LEFT_OUT}",
            id="NULL timestamps with a base query that excludes them",
        ),
        pytest.param(
            POSTGRESQL | WITH_NULLS | {"postgresql_query": BASE_QUERY},
            f"smart_sync_null_timestamps is 'include', but postgresql_query {NULLS_LEFT_OUT}",
            id="NULL timestamps with a query that excludes them",
        ),
        pytest.param(
            POSTGRESQL | {"deletes": "remove", "primary_key": "id"},
            "deletes is 'remove' and enable_smart_sync is false: without Smart Sync, a run could delete rows that "
            "another run has just loaded; enable it, replace all rows with write_disposition=WRITE_TRUNCATE, or give "
            "deletes=keep",
            id="deletes without Smart Sync",
        ),
        pytest.param(
            SMART_SYNC | {"deletes": "mark"},
            "deletes is 'mark', and without primary_key every version of a row is appended: give primary_key",
            id="deletes without a key",
        ),
        pytest.param(
            POSTGRESQL | {"dead_letter_table": "my-project.production.users"},
            "dead_letter_table is the destination table itself: name another",
            id="dead letters into the destination",
        ),
        pytest.param(
            POSTGRESQL | {"create_disposition": "CREATE_NEVER", "delete_existing_table": "true"},
            "create_disposition is 'CREATE_NEVER' and delete_existing_table is true: the run could not create the new "
            "table; use CREATE_IF_NEEDED",
            id="delete and never create",
        ),
        pytest.param(
            POSTGRESQL | {"reconcile": "repair", "delete_existing_table": "true"},
            "reconcile is 'repair': it compares the source with the existing table, which delete_existing_table "
            "replaces: omit one of them",
            id="comparison with a table that is replaced",
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_query": BASE_QUERY},
            "postgresql_query contains {start_timestamp} and {end_timestamp}, which only Smart Sync fills in: set "
            "enable_smart_sync=true, or use literal timestamps",
            id="placeholders without Smart Sync, PostgreSQL",
        ),
        pytest.param(
            SMART_SYNC | {"postgresql_base_query": "SELECT 1 WHERE x > '{start_timestamp}'"},
            "postgresql_base_query lacks {end_timestamp}: Smart Sync needs both bounds of the interval",
            id="no end",
        ),
        pytest.param(
            SMART_SYNC | {"smart_sync_timestamp_column": "last_modified"},
            "postgresql_base_query compares {start_timestamp} with updated_at, but smart_sync_timestamp_column is "
            "last_modified: runs would miss changed rows; name the same column in both",
            id="another column in the query",
        ),
        pytest.param(
            SMART_SYNC | {"postgresql_base_query": BASE_QUERY.replace("{start_timestamp}", "{start_time}")},
            "postgresql_base_query lacks {start_timestamp}: replace {start_time} with it",
            id="misspelt start",
        ),
        pytest.param(
            SMART_SYNC | {"postgresql_base_query": BASE_QUERY.replace("{end_timestamp}", "{ END_TIMESTAMP }")},
            "postgresql_base_query lacks {end_timestamp}: replace { END_TIMESTAMP } with it",
            id="end in capitals",
        ),
        pytest.param(
            POSTGRESQL | {"enable_smart_sync": "true", "postgresql_query": "SELECT 1 WHERE x < '{end_timestamp}'"},
            "postgresql_query lacks {start_timestamp}: Smart Sync needs both bounds of the interval",
            id="one of two, PostgreSQL",
        ),
    ],
)
def test_contradiction(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]


def test_all_problems_are_reported_together() -> None:
    given = SMART_SYNC | {
        "postgresql_host": "",
        "postgresql_port": "x",
        "write_disposition": "WRITE_TRUNCATE",
        "postgresql_base_query": "SELECT 1",
        "transformation_config": '{"hash_fields": []}',
        "bach_size": "3",
    }
    assert [problem.split(" ")[0] for problem in problems(given)] == [
        "bach_size",
        "postgresql_port",
        "postgresql_host",
        "write_disposition",
        "postgresql_base_query",
        "postgresql_base_query",
        "transformation_config.hash_fields:",
    ]


def test_unknown_parameter() -> None:
    assert problems(POSTGRESQL | {"bach_size": "3"}) == [
        "bach_size is not a parameter of this template; did you mean batch_size?"
    ]


@pytest.mark.parametrize(
    "parameters", [SMART_SYNC, POSTGRESQL | {"postgresql_query": BASE_QUERY}], ids=["missing", "placeholders"]
)
def test_nothing_is_guessed_from_a_malformed_switch(parameters: dict[str, str]) -> None:
    given = parameters | {"enable_smart_sync": "ture"}
    assert problems(given) == ["enable_smart_sync is 'ture': write true or false"]


@pytest.mark.parametrize(("length", "quoted"), [(100, "x" * 100), (101, f"{'x' * 97}...")])
def test_long_values_are_cut(length: int, quoted: str) -> None:
    assert problems(POSTGRESQL | {"dry_run": "x" * length}) == [f"dry_run is '{quoted}': write true or false"]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"write_disposition": "WRITE_TRUNCATE"}, id="truncate"),
        pytest.param({"create_disposition": "CREATE_NEVER"}, id="never create"),
        pytest.param({"delete_existing_table": "true"}, id="delete"),
        pytest.param({"primary_key": "id"}, id="merge without Smart Sync"),
        pytest.param({"primary_key": "id", "delete_existing_table": "true"}, id="merge and delete"),
        pytest.param({"dead_letter_table": "my-project.production.lost"}, id="dead letters beside the destination"),
    ],
)
def test_no_contradiction(given: dict[str, str]) -> None:
    assert SyncConfig.from_parameters(POSTGRESQL | given).warnings == ()


def test_no_secret_in_any_problem() -> None:
    given = POSTGRESQL | {
        "postgresql_password": "projects/hunter2/secrets/hunter2",
        "mongodb_connection_string": "mongodb://u:hunter2@h",
        "postgresql_host": "",
    }
    assert "hunter2" not in "\n".join(problems(given))


PLAIN_SECRET = (
    "postgresql_password was given in plain text and is stored with the launch request; store it in Secret Manager and "
    "pass projects/PROJECT/secrets/SECRET/versions/VERSION"
)


@pytest.mark.parametrize(
    ("parameters", "warnings"),
    [
        pytest.param(
            POSTGRESQL | {"mongodb_host": "h", "mongodb_port": "27018", "source_bigquery_table": "t"},
            (
                "mongodb_host, mongodb_port are ignored: data_source is postgresql",
                "source_bigquery_table is ignored: data_source is postgresql",
            ),
            id="parameters of other sources",
        ),
        pytest.param(
            POSTGRESQL | {"source_bigquery_table": "t", "source_bigquery_query": "SELECT '{start_timestamp}'"},
            ("source_bigquery_table, source_bigquery_query are ignored: data_source is postgresql",),
            id="contradiction of another source",
        ),
        pytest.param(
            POSTGRESQL | {"mongodb_host": "h", "mongodb_connection_string": CONNECTION_STRING},
            ("mongodb_host, mongodb_connection_string are ignored: data_source is postgresql",),
            id="second contradiction of another source",
        ),
        pytest.param(
            MONGODB | {"postgresql_base_query": "SELECT 1"},
            ("postgresql_base_query is ignored: data_source is mongodb",),
            id="one warning for one parameter",
        ),
        pytest.param(
            MONGODB
            | {"enable_smart_sync": "true", "postgresql_query": "SELECT 1", "postgresql_base_query": "SELECT 1"},
            ("postgresql_query, postgresql_base_query are ignored: data_source is mongodb",),
            id="queries of another source with Smart Sync",
        ),
        pytest.param(
            POSTGRESQL | {"partition_field": "created_at", "clustering_fields": "id", "partition_granularity": "HOUR"},
            ("partition_field, partition_granularity, clustering_fields are ignored: enable_auto_schema is false",),
            id="Auto-Schema is off",
        ),
        pytest.param(POSTGRESQL | {"delete_existing_table": "true"}, (), id="the table is replaced all the same"),
        pytest.param(
            POSTGRESQL | {"postgresql_base_query": BASE_QUERY, "fallback_days": "2"},
            ("postgresql_base_query, fallback_days are ignored: enable_smart_sync is false",),
            id="Smart Sync is off",
        ),
        pytest.param(
            POSTGRESQL
            | {
                "smart_sync_lookback_seconds": "5",
                "smart_sync_settle_seconds": "5",
                "smart_sync_max_hold_seconds": "5",
                "smart_sync_null_timestamps": "include",
            },
            (
                (
                    "smart_sync_lookback_seconds, smart_sync_settle_seconds, smart_sync_max_hold_seconds, "
                    "smart_sync_null_timestamps are ignored: enable_smart_sync is false"
                ),
            ),
            id="Smart Sync's times without it",
        ),
        pytest.param(
            SMART_SYNC | {"postgresql_query": "SELECT * FROM users"},
            ("postgresql_query is ignored: Smart Sync uses postgresql_base_query",),
            id="both queries",
        ),
        pytest.param(
            POSTGRESQL
            | JULY
            | {"enable_smart_sync": "true", "primary_key": "id", "smart_sync_null_timestamps": "include"},
            ("smart_sync_null_timestamps is ignored: interval_start and interval_end say which rows are read",),
            id="backfill with NULL timestamps",
        ),
        pytest.param(
            SMART_SYNC | {"fallback_days": "7"},
            ("fallback_days is ignored: sync_all_on_empty_table is true",),
            id="fallback days without a fallback",
        ),
        pytest.param(
            POSTGRESQL | {"deletes": "remove", "max_deleted_percent": "5", "write_disposition": "WRITE_TRUNCATE"},
            (
                "deletes is ignored: the run replaces all rows",
                "max_deleted_percent is ignored: the run deletes no rows by their key",
            ),
            id="deletes where all rows are replaced",
        ),
        pytest.param(
            SMART_SYNC | {"max_deleted_percent": "5"},
            ("max_deleted_percent is ignored: the run deletes no rows by their key",),
            id="a limit of no deletions",
        ),
        pytest.param(SMART_SYNC | {"max_deleted_percent": "5", "reconcile": "repair"}, (), id="a limit of a repair"),
        pytest.param(
            POSTGRESQL | {"postgresql_password": "hunter2"},
            (PLAIN_SECRET,),
            id="plain secret",
        ),
    ],
)
def test_warnings(parameters: dict[str, str], warnings: tuple[str, ...]) -> None:
    assert SyncConfig.from_parameters(parameters).warnings == warnings


@pytest.mark.parametrize("character", ["\0", "\udc80"], ids=["NUL", "not UTF-8"])
@pytest.mark.parametrize("name", ["postgresql_password", "postgresql_query"])
def test_a_text_that_no_server_takes_is_refused(name: str, character: str) -> None:
    with pytest.raises(ConfigError, match="it has a NUL, or bytes that are not UTF-8") as caught:
        SyncConfig.from_parameters(plans.PARAMETERS | {name: f"hunter3-planted{character}"})
    assert name in str(caught.value)
    assert ("hunter3" in str(caught.value)) is (name != "postgresql_password")
