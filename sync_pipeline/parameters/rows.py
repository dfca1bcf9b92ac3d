"""The shared parameters of the template, which do not belong to a single source.

Names and defaults are a contract with every user of the template.
"""

from __future__ import annotations

from sync_pipeline.parameters.files import parse_location
from sync_pipeline.parameters.parameter import ALWAYS, Group, Parameter, ParameterType, when
from sync_pipeline.registry import SOURCES

# Sentences for help texts, also of the sources' parameters.
PEM_PLACES = "Give the name of a version in Secret Manager, a gs:// object, or the path of a file on the workers."
VERSION_NAME = (
    "Give the name of a secret in Secret Manager, projects/PROJECT/secrets/SECRET/versions/VERSION, or, outside "
    "Dataflow, env:VARIABLE. The secret itself works too, but is then stored with the launch request."
)

TABLE_LIST = "as names separated by commas: * stands for any characters, ? for one, and ! excludes."
# The parameter that gives settings by table, and may name the tables.
TABLES_FILE = "tables_file"

# The values of `deletes`.
KEEP, REMOVE, MARK = "keep", "remove", "mark"

# The values of `reconcile`.
OFF, REPORT, REPAIR = "off", "report", "repair"

# The parameters that together name the destination table.
DESTINATION = ("destination_bigquery_project", "destination_bigquery_dataset", "destination_bigquery_table")

SHARED_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "data_source",
        "Data source",
        "System to read from.",
        ParameterType.CHOICE,
        Group.CORE,
        example="postgresql",
        choices=tuple(SOURCES),
        required=(ALWAYS,),
    ),
    Parameter(
        "destination_bigquery_project",
        "Destination project",
        "Project of the destination table.",
        ParameterType.PROJECT,
        Group.CORE,
        example="my-analytics-project",
        required=(ALWAYS,),
    ),
    Parameter(
        "destination_bigquery_dataset",
        "Destination dataset",
        "Dataset of the destination table; it must exist.",
        ParameterType.DATASET,
        Group.CORE,
        example="production_data",
        required=(ALWAYS,),
    ),
    Parameter(
        "destination_bigquery_table",
        "Destination table",
        "BigQuery table to write to. {schema} and {table} stand for the names of the source's table; without it the "
        "name is {table}.",
        ParameterType.TABLE,
        Group.CORE,
        example="organizations",
        required=(when(TABLES_FILE),),
        by_table=True,
    ),
    Parameter(
        TABLES_FILE,
        "Tables file",
        "YAML file with settings by table: gs://BUCKET/OBJECT, or outside Dataflow a path. It names the tables, "
        "unless another parameter does.",
        ParameterType.TEXT,
        Group.CORE,
        example="gs://my-bucket/tables.yaml",
        read=parse_location,
    ),
    Parameter(
        "enable_smart_sync",
        "Enable Smart Sync",
        "Read only rows with a timestamp after the latest one in the destination.",
        ParameterType.BOOLEAN,
        Group.SMART_SYNC,
        example="true",
        default="false",
        by_table=True,
    ),
    Parameter(
        "smart_sync_timestamp_column",
        "Timestamp column",
        "Source column with the time of a row's last change; for a PostgreSQL table that only gets new rows, also the "
        "column that its sequence numbers.",
        ParameterType.TEXT,
        Group.SMART_SYNC,
        example="last_modified",
        default="updated_at",
        by_table=True,
    ),
    Parameter(
        "sync_all_on_empty_table",
        "Sync all on an empty table",
        "Whether a first run reads everything (true) or the last fallback_days days (false).",
        ParameterType.BOOLEAN,
        Group.SMART_SYNC,
        example="true",
        default="true",
        by_table=True,
    ),
    Parameter(
        "fallback_days",
        "Fallback days",
        "Days that a first run reads if sync_all_on_empty_table is false.",
        ParameterType.INTEGER,
        Group.SMART_SYNC,
        example="7",
        default="1",
        minimum=1,
        maximum=36500,
        by_table=True,
    ),
    Parameter(
        "smart_sync_lookback_seconds",
        "Lookback",
        "Seconds before the latest timestamp to read again, for late rows; only for merges.",
        ParameterType.INTEGER,
        Group.SMART_SYNC,
        example="3600",
        default="0",
        minimum=0,
        maximum=31_536_000,
        by_table=True,
    ),
    Parameter(
        "smart_sync_settle_seconds",
        "Settle time",
        "Safety margin in seconds between the end of the interval and the source's clock or oldest open transaction.",
        ParameterType.INTEGER,
        Group.SMART_SYNC,
        example="5",
        default="1",
        minimum=0,
        maximum=86_400,
        by_table=True,
    ),
    Parameter(
        "smart_sync_max_hold_seconds",
        "Longest hold",
        "Seconds for which an open transaction holds the end of the interval back; after this the run warns and "
        "continues. By a column of numbers: seconds to wait for transactions that have taken one; after this the run "
        "fails.",
        ParameterType.INTEGER,
        Group.SMART_SYNC,
        example="21600",
        default="3600",
        minimum=0,
        maximum=604_800,
        by_table=True,
    ),
    Parameter(
        "smart_sync_max_interval_hours",
        "Longest interval",
        "Hours from the first timestamp that is not loaded yet to the end of a run's interval; the next run goes on. "
        "A long first load becomes steps. Default: no limit.",
        ParameterType.INTEGER,
        Group.SMART_SYNC,
        example="720",
        minimum=1,
        maximum=876_000,
        by_table=True,
    ),
    Parameter(
        "smart_sync_null_timestamps",
        "Rows without a timestamp",
        "Whether rows with a NULL timestamp are excluded, or read and merged by every run.",
        ParameterType.CHOICE,
        Group.SMART_SYNC,
        example="include",
        default="exclude",
        choices=("exclude", "include"),
        by_table=True,
    ),
    Parameter(
        "smart_sync_time_zone",
        "Time zone of the timestamps",
        "Time zone of a timestamp column that has none. Default: the TimeZone of the PostgreSQL server for the user, "
        "and UTC for BigQuery.",
        ParameterType.TIME_ZONE,
        Group.SMART_SYNC,
        example="America/New_York",
        by_table=True,
    ),
    Parameter(
        "interval_start",
        "Start of a backfill",
        "Loads the rows with a later timestamp, up to and including interval_end, again: a backfill. ISO 8601 with a "
        "time zone, or without one if the timestamps have none.",
        ParameterType.TIMESTAMP,
        Group.SMART_SYNC,
        example="2025-07-01T00:00:00Z",
        required=(when(given="interval_end"),),
        by_table=True,
    ),
    Parameter(
        "interval_end",
        "End of a backfill",
        "Last timestamp of a backfill, in the form of interval_start. The end of one backfill can be the start of the "
        "next: no row is in both.",
        ParameterType.TIMESTAMP,
        Group.SMART_SYNC,
        example="2025-08-01T00:00:00Z",
        required=(when(given="interval_start"),),
        by_table=True,
    ),
    Parameter(
        "enable_auto_schema",
        "Enable Auto-Schema",
        "Create the destination table with partitioning, clustering, and the source's types and comments.",
        ParameterType.BOOLEAN,
        Group.AUTO_SCHEMA,
        example="true",
        default="false",
        by_table=True,
    ),
    Parameter(
        "partition_field",
        "Partition field",
        "Date or timestamp column that partitions the destination table.",
        ParameterType.COLUMN,
        Group.AUTO_SCHEMA,
        example="created_at",
        default="updated_at",
        by_table=True,
    ),
    Parameter(
        "partition_granularity",
        "Partition granularity",
        "Time span of one partition. One job can modify at most 4,000 partitions.",
        ParameterType.CHOICE,
        Group.AUTO_SCHEMA,
        example="MONTH",
        default="DAY",
        choices=("HOUR", "DAY", "MONTH", "YEAR"),
        by_table=True,
    ),
    Parameter(
        "clustering_fields",
        "Clustering fields",
        "Up to four columns that cluster the destination table, comma-separated.",
        ParameterType.COLUMNS,
        Group.AUTO_SCHEMA,
        example="id,status",
        maximum=4,
        by_table=True,
    ),
    Parameter(
        "delete_existing_table",
        "Replace the existing table",
        "Replace the destination table with this run's schema and rows. Readers see the old table until the end.",
        ParameterType.BOOLEAN,
        Group.AUTO_SCHEMA,
        example="false",
        default="false",
        by_table=True,
    ),
    Parameter(
        "transformation_config",
        "Transformation",
        "JSON object with any of field_mappings, include_fields, exclude_fields, type_overrides, constant_fields and "
        "hash_fields.",
        ParameterType.JSON,
        Group.ADDITIONAL,
        example='{"field_mappings": {"old_name": "new_name"}}',
        by_table=True,
    ),
    Parameter(
        "hash_key",
        "Hash key",
        "Key for hash_fields: HMAC-SHA-256 with this key prevents others from finding values by trying. "
        f"{VERSION_NAME}",
        ParameterType.TEXT,
        Group.ADDITIONAL,
        example="projects/my-project/secrets/sync-hash-key/versions/1",
        secret=True,
    ),
    Parameter(
        "primary_key",
        "Primary key",
        "Primary key columns, comma-separated; enables merge: a row replaces its older version. Without it every "
        "version is appended, except that Smart Sync merges MongoDB documents by _id.",
        ParameterType.COLUMNS,
        Group.ADDITIONAL,
        example="id",
        # https://cloud.google.com/bigquery/docs/primary-foreign-keys
        maximum=16,
        by_table=True,
    ),
    Parameter(
        "deletes",
        "Rows deleted at the source",
        "With Smart Sync and a primary key: keep the rows in the destination, remove them, or mark them with the time "
        "in _deleted_at. A row that the query's own filter no longer returns counts as deleted.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="remove",
        default=KEEP,
        choices=(KEEP, REMOVE, MARK),
        by_table=True,
    ),
    Parameter(
        "max_deleted_percent",
        "Limit of deletions",
        "Percentage of the destination's rows; fewer than 100 count as 100. If the source lacks more of them, or all, "
        "the run removes and marks none, and fails after it has published the other changes. 100 sets no limit.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="25",
        default="10",
        minimum=0,
        maximum=100,
        by_table=True,
    ),
    Parameter(
        "reconcile",
        "Compare with the source",
        "Reads the whole source and compares it with the destination, instead of loading rows: report counts the rows "
        "that are missing, different and surplus, and repair also corrects them in one change.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="report",
        default=OFF,
        choices=(OFF, REPORT, REPAIR),
    ),
    Parameter(
        "schema_evolution",
        "Schema evolution",
        "If the source's columns have changed: fail and show the statement that resolves it, add columns and widen "
        "types, or ignore new columns.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="add",
        default="fail",
        choices=("fail", "add", "ignore"),
        by_table=True,
    ),
    Parameter(
        "dead_letter_table",
        "Dead letter table",
        "Table for rows with an invalid value, as project.dataset.table. Without it such rows fail the run.",
        ParameterType.TABLE_ID,
        Group.ADDITIONAL,
        example="my-analytics-project.production_data.organizations_dead_letters",
        by_table=True,
    ),
    Parameter(
        "dead_letter_expiration_days",
        "Expiration of dead letters",
        "Days after which a dead letter table that the run creates deletes its rows. Without it they are kept.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="30",
        minimum=1,
        maximum=10_000,
        by_table=True,
    ),
    Parameter(
        "staging_dataset",
        "Staging dataset",
        "Dataset for staging tables of merges and JSON columns, in the project and location of the destination. "
        "Default: the destination's dataset.",
        ParameterType.DATASET,
        Group.ADDITIONAL,
        example="staging",
    ),
    Parameter(
        "destination_kms_key",
        "Cloud KMS key of the tables",
        "Cloud KMS key for tables that the run creates: destination, staging and dead letters. By default a staging "
        "table uses the destination's key, and any other new table its dataset's default.",
        ParameterType.KMS_KEY,
        Group.ADDITIONAL,
        example="projects/my-project/locations/us/keyRings/analytics/cryptoKeys/tables",
    ),
    Parameter(
        "write_disposition",
        "Write disposition",
        "Whether the rows are added to the destination table or replace its rows. A run without Smart Sync and "
        "primary_key adds them to a table that has rows only if WRITE_APPEND is given, as it adds all rows again.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="WRITE_TRUNCATE",
        default="WRITE_APPEND",
        choices=("WRITE_APPEND", "WRITE_TRUNCATE"),
        by_table=True,
        asks=True,
    ),
    Parameter(
        "create_disposition",
        "Create disposition",
        "Whether the run creates a missing destination table or fails.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="CREATE_NEVER",
        default="CREATE_IF_NEEDED",
        choices=("CREATE_IF_NEEDED", "CREATE_NEVER"),
        by_table=True,
    ),
    Parameter(
        "batch_size",
        "Batch size",
        "Maximum number of rows in a batch that goes from one step of the pipeline to the next.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="5000",
        default="1000",
        minimum=1,
        maximum=1_000_000,
        by_table=True,
    ),
    Parameter(
        "num_partitions",
        "Read splits",
        "Maximum number of splits of a read; max_source_connections limits how many are read at once. By default the "
        "source's size decides.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="8",
        minimum=1,
        maximum=1000,
        by_table=True,
    ),
    Parameter(
        "table_mode",
        "Mode of chosen tables",
        "How tables that a list, a wildcard, postgresql_table or tables_file chooses are kept equal to their source: "
        "auto merges by Smart Sync if a table has a primary key and the timestamp column, and else replaces all rows; "
        "replace replaces all rows; append adds all rows of each run, or with enable_smart_sync those of its interval.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="append",
        default="auto",
        choices=("auto", "replace", "append"),
        by_table=True,
    ),
    Parameter(
        "max_source_connections",
        "Connections to the source",
        "Maximum number of connections to the database that all workers together open at once.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="16",
        default="8",
        minimum=1,
        maximum=100,
    ),
    Parameter(
        "max_retries",
        "Retries",
        "Number of retries for connecting to the source, and for BigQuery jobs with transient errors.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="5",
        default="3",
        minimum=0,
        maximum=20,
    ),
    Parameter(
        "dry_run",
        "Dry run",
        "Check the parameters, query source and destination, print the plan and stop.",
        ParameterType.BOOLEAN,
        Group.ADDITIONAL,
        example="true",
        default="false",
    ),
)
