"""Rules about what load jobs, query jobs with a destination, and DML statements may write."""

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request

import duckdb
from bigquery_bytes import row_size
from bigquery_partitions import partition_column, partition_id, stored
from bigquery_rules import enforced
from bigquery_rules_tables import check_policy_tags
from local_bigquery.catalog import datasets, metadata, names, tables
from local_bigquery.engine import database
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import load, runner
from local_bigquery.models import JobConfigurationLoad, JobConfigurationQuery, RowAccessPolicy, Table

MAX_PARTITIONS_PER_JOB = 4_000
MAX_PARTITIONS_PER_TABLE = 10_000
_MULTI_REGIONS = {
    "us": ("us-", "northamerica-", "nam"),
    "eu": ("europe-", "eur"),
}
_NOT_IN_EU = frozenset({"europe-west2", "europe-west6"})
_DUAL_REGIONS = {
    "nam4": {"us-central1", "us-east1"},
    "eur4": {"europe-north1", "europe-west4"},
    "asia1": {"asia-northeast1", "asia-northeast2"},
}


def apply(storage_url: str) -> None:
    """Patch the emulator's modules; call once, before the first request.

    `storage_url` is the URL of the Cloud Storage emulator, which knows the locations of buckets.
    """
    write, run = tables.write, load.run

    def write_by_the_rules(cur, sql, params, reference, config, *arguments, **options):
        if reference[1] != tables.RESULTS and tables.exists(*reference):
            check_columns(reference, config)
            if config.writeDisposition == "WRITE_TRUNCATE":
                metadata.delete(RowAccessPolicy, *reference)
        if reference[1] != tables.RESULTS:
            check_written_partitions(cur, sql, params, reference, config)
        return write(cur, sql, params, reference, config, *arguments, **options)

    def load_by_the_rules(cur, config, upload):
        reference = tables.reference(config.destinationTable)
        check_policy_tags(reference, config.schema_ and config.schema_.fields)
        for uri in config.sourceUris or []:
            check_location(uri, datasets.get(*reference[:2]).location, storage_url)
        return run(cur, config, upload)

    tables.write, load.run = write_by_the_rules, load_by_the_rules
    runner.HANDLERS["load"] = load_by_the_rules


def check_columns(reference, config) -> None:
    """A query's result has NULLABLE columns, so it cannot be written to a table with REQUIRED columns; and a load that
    keeps the table's schema must contain all of its columns.

    Source of the first rule: https://github.com/googleapis/google-cloud-python/issues/5093. The second case is not
    documented; the rule takes the stricter answer.
    """
    label, columns = names.label(*reference), tables.columns(*reference)
    required = [field.name for field in columns if field.mode == "REQUIRED"]
    if isinstance(config, JobConfigurationQuery) and required and enforced("required_columns"):
        raise BigQueryError(
            "invalid",
            f"Provided Schema does not match Table {label}. Field {required[0]} has changed mode from REQUIRED to "
            "NULLABLE",
        )
    if not isinstance(config, JobConfigurationLoad) or config.writeDisposition != "WRITE_TRUNCATE_DATA":
        return
    given = {field.name.casefold() for field in (config.schema_ and config.schema_.fields) or []}
    missing = [field.name for field in columns if field.name.casefold() not in given]
    if given and missing and enforced("truncate_data_columns"):
        raise BigQueryError(
            "invalid", f"Provided Schema does not match Table {label}. Field {missing[0]} is missing in new schema"
        )


def check_written_partitions(cur, sql, params, reference, config) -> None:
    """A job modifies at most 4,000 partitions, and a table has at most 10,000.

    https://cloud.google.com/bigquery/quotas#partitioned_tables
    """
    table = stored(reference)
    if table is None or (config.writeDisposition == "WRITE_TRUNCATE" and getattr(config, "timePartitioning", None)):
        table = Table.model_validate(config.model_dump(include=set(tables.LAYOUT), exclude_none=True))
    if not enforced("partitions") or not partition_column(table):
        return
    try:
        rows = cur.execute(f"SELECT DISTINCT {partition_id(table)} FROM ({sql})", params).fetchall()
    except duckdb.Error:
        return  # the write itself then fails with a clear error
    written = {row[0] for row in rows}
    kept = set()
    if config.writeDisposition == "WRITE_APPEND" and tables.exists(*reference):
        kept = _partitions(cur, tables.name(*reference), table)
    refuse_partitions(len(written), len(kept | written))


def refuse_partitions(modified: int, total: int) -> None:
    """Raise BigQuery's error if a job modifies too many partitions, or leaves too many in the table."""
    if modified > MAX_PARTITIONS_PER_JOB:
        raise BigQueryError(
            "invalidQuery",
            f"Too many partitions produced by query, allowed {MAX_PARTITIONS_PER_JOB}, query produces at least "
            f"{modified} partitions",
        )
    if total > MAX_PARTITIONS_PER_TABLE:
        raise BigQueryError(
            "quotaExceeded",
            f"Quota exceeded: Your table exceeded quota for Number of partitions per table: {total} of "
            f"{MAX_PARTITIONS_PER_TABLE}",
        )


def _partitions(cur, name, table):
    return {row[0] for row in cur.execute(f"SELECT DISTINCT {partition_id(table)} FROM {name}").fetchall()}


class Counted:
    """A DML statement that changed rows.

    Attributes:
        began: whether it runs in a transaction of its own.
        modified_bytes: the previous bytes of the partitions with changed rows; None if the table has no partitions.
    """

    began = False
    modified_bytes: int | None = None


@contextlib.contextmanager
def counted_partitions(cur, reference, in_transaction: bool, only_inserts: bool):
    """Run a DML statement; undo it if it changed too many partitions, those of the rows' old versions included."""
    table, counted = stored(reference), Counted()
    if not partition_column(table):
        yield counted
        return
    before = None if only_inserts and not in_transaction else _contents(cur, reference, table)
    if not in_transaction:
        cur.execute("BEGIN")
        counted.began = True
    try:
        yield counted
        if before is None and len(_partitions(cur, tables.name(*reference), table)) <= MAX_PARTITIONS_PER_JOB:
            before = after = {}
        else:
            after = _contents(cur, reference, table)
        if before is None:
            with database.cursor() as committed:
                before = _contents(committed, reference, table)
        changed = [one for one in before.keys() | after.keys() if before.get(one) != after.get(one)]
        counted.modified_bytes = sum(before[one][-1] for one in changed if one in before)
        if enforced("partitions"):
            refuse_partitions(len(changed), len(after))
    except BaseException:
        if counted.began:
            with contextlib.suppress(duckdb.Error):  # the statement may have ended the transaction
                cur.execute("ROLLBACK")
        raise
    if counted.began:
        cur.execute("COMMIT")


def _contents(cur, reference, table):
    """Return for each partition values that change with its rows; the last value is the number of bytes."""
    digest = f"count(*), bit_xor(hash(one)), sum(hash(one)), sum({row_size(tables.columns(*reference))})"
    sql = f"SELECT {partition_id(table)}, {digest} FROM {tables.name(*reference)} AS one GROUP BY 1"
    return {row[0]: row[1:] for row in cur.execute(sql).fetchall()}


def check_location(uri: str, dataset_location: str | None, storage_url: str) -> None:
    """Files are loaded only from a bucket in the dataset's region, or inside its multi-region.

    https://cloud.google.com/bigquery/docs/batch-loading-data#data-locations
    """
    if not enforced("bucket_location") or not storage_url or not uri.startswith("gs://"):
        return
    bucket = uri.removeprefix("gs://").partition("/")[0]
    try:
        with urllib.request.urlopen(f"{storage_url}/storage/v1/b/{urllib.parse.quote(bucket)}", timeout=20) as answer:
            source = json.load(answer).get("location", "US")
    except urllib.error.HTTPError:
        return  # the load itself reports a bucket that does not exist
    if not _contains((dataset_location or "US").lower(), source.lower()):
        raise BigQueryError(
            "invalid",
            f"Cannot read and write in different locations: source: {source}, destination: {dataset_location}",
        )


def _contains(dataset: str, bucket: str) -> bool:
    if dataset == bucket:
        return True
    if dataset in _MULTI_REGIONS:
        return bucket.startswith(_MULTI_REGIONS[dataset]) and bucket not in _NOT_IN_EU
    return dataset in _DUAL_REGIONS.get(bucket, ())
