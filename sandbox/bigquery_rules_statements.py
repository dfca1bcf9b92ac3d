"""Rules about statements: partition filters, row access policies, locations, and the limits of DDL and DML."""

import contextlib

import bigquery_rules_tables
from bigquery_partitions import conditions, partition_column, prunes, stored
from bigquery_request import job_location, sync_run
from bigquery_rules import enforced
from bigquery_rules_writes import check_written_partitions, counted_partitions
from bigquery_scripts import OPEN_TRANSACTION
from local_bigquery.catalog import datasets, names, row_access, tables
from local_bigquery.errors import BigQueryError
from local_bigquery.grpc import read
from local_bigquery.jobs import query
from local_bigquery.models import JobConfigurationQuery, Table
from local_bigquery.sql.rules import tables as table_rules
from local_bigquery.sql.translate import Context, parse
from sqlglot import exp

_DML = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    run, read_query = query._run, read._query

    def run_by_the_rules(cur, tree, context, destination, config, dry_run, isolated):
        arguments = (destination, config, dry_run, isolated)
        check_partition_filters(tree, context)
        target = names.target(tree)
        reference = target is not None and table_rules.resolve(target, context, set())
        if not reference or _is_temporary(tree):
            return run(cur, tree, context, *arguments)
        if isinstance(tree, _DML):
            check_row_access(reference, "DML statements")
            if dry_run:
                return run(cur, tree, context, *arguments)
            bigquery_rules_tables.count_operation(reference, sync_run(), is_subject=False)
            with _transaction(cur, reference, context, isinstance(tree, exp.Insert)):
                return run(cur, tree, context, *arguments)
        if isinstance(tree, query.DDL) and (tree.args.get("kind") or "").upper() == "TABLE":
            check_ddl(cur, tree, context, reference, dry_run)
        return run(cur, tree, context, *arguments)

    def read_by_the_rules(path, options, data_format):
        reference = read.table(path)
        if tables.exists(*reference):
            check_row_access(reference, "the Storage Read API")
            restriction = f" WHERE {options.row_restriction}" if options.row_restriction else ""
            tree = parse(f"SELECT * FROM `{'.'.join(reference)}`{restriction}")[0]
            check_partition_filters(tree, Context(*reference[:2]))
        return read_query(path, options, data_format)

    query._run, read._query = run_by_the_rules, read_by_the_rules
    table_rules._check = check_table


def _is_temporary(tree) -> bool:
    return tree.find(exp.TemporaryProperty) is not None


@contextlib.contextmanager
def _transaction(cur, reference, context, only_inserts):
    """Run a DML statement and count its partitions, in the current transaction or else in one of its own."""
    was_open = bool(context.settings.get(OPEN_TRANSACTION))
    with counted_partitions(cur, reference, was_open, only_inserts) as counted:
        if counted.began:
            context.settings[OPEN_TRANSACTION] = True
        try:
            yield
        finally:
            if counted.began:
                context.settings.pop(OPEN_TRANSACTION, None)
    context.modified_bytes = counted.modified_bytes


def check_ddl(cur, tree, context, reference, dry_run) -> None:
    """Apply the rules about tables to CREATE TABLE, ALTER TABLE and DROP TABLE."""
    evaluate = query._evaluator(cur)
    if not dry_run and tables.exists(*reference):
        bigquery_rules_tables.count_operation(reference, sync_run())
    if not isinstance(tree, exp.Create) or tree.args.get("clone"):
        return
    if tree.args.get("exists") and tables.exists(*reference):
        return
    columns = query._declared_schema(cur, tree.copy(), context) if isinstance(tree.this, exp.Schema) else []
    bigquery_rules_tables.checked_definition(tree, reference, evaluate, columns)
    if tree.args.get("replace"):
        bigquery_rules_tables.forget_what_a_replaced_table_had(reference)
    if tree.expression is not None and not dry_run:
        sql, bound = query.translate(tree.expression, context)
        layout = Table.model_validate(query.catalog_ddl._table(tree, reference, evaluate))
        given = layout.model_dump(include={"timePartitioning"}, exclude_none=True)
        config = JobConfigurationQuery.model_validate(given | {"writeDisposition": "WRITE_TRUNCATE"})
        check_written_partitions(cur, sql, bound, reference, config)


def check_row_access(reference, doing: str) -> None:
    """All operations except queries need access to every row of a table with row access policies: FILTER USING (TRUE).

    https://cloud.google.com/bigquery/docs/using-row-level-security-with-features#the_true_filter. The wording is ours.
    """
    if not enforced("row_access"):
        return
    predicate = row_access.predicate(*reference)
    if predicate is None or any(part.strip(" ()").upper() == "TRUE" for part in predicate.split(" OR ")):
        return
    raise BigQueryError(
        "accessDenied",
        f"Access Denied: Table {names.label(*reference)}: {doing} require access to all rows of a table with row "
        "access policies: a policy with FILTER USING (TRUE) must be granted to the caller",
    )


def check_partition_filters(tree, context) -> None:
    """Reading a table with require_partition_filter requires a filter on the partition column that prunes partitions.

    https://cloud.google.com/bigquery/docs/querying-partitioned-tables#require_a_partition_filter_in_queries. The filter
    compares the column with values that are known before the table is read:
    https://cloud.google.com/bigquery/docs/querying-partitioned-tables#use_a_constant_filter_expression. INSERT and
    TRUNCATE TABLE do not read their target.
    """
    if not enforced("partition_filter") or isinstance(tree, exp.TruncateTable | exp.Drop | exp.Alter):
        return
    ctes = {cte.alias_or_name.casefold() for cte in tree.find_all(exp.CTE)}
    target = names.target(tree)
    for table in tree.find_all(exp.Table):
        if table is target and not isinstance(tree, exp.Merge | exp.Update | exp.Delete):
            continue
        reference = table_rules.resolve(table, context, ctes)
        resource = stored(reference) if reference else None
        if not resource or not _requires_filter(resource):
            continue
        field = partition_column(resource) or tables.INGESTION_TIME
        columns = {field.casefold()} | (set() if partition_column(resource) else {"_partitiondate"})
        if not any(prunes(condition, columns, aliases) for condition, aliases in conditions(table)):
            raise BigQueryError(
                "invalidQuery",
                f"Cannot query over table '{'.'.join(reference)}' without a filter over column(s) '{field}' that can "
                "be used for partition elimination",
            )


def _requires_filter(resource) -> bool:
    partitioning = resource.timePartitioning
    return bool(resource.requirePartitionFilter or (partitioning and partitioning.requirePartitionFilter))


def check_table(tree, table, is_target) -> None:
    """Check that a statement's table exists in the job's location, and that it can be changed.

    "Not found: Dataset … was not found in location …": https://cloud.google.com/bigquery/docs/locations
    """
    reference = (table.catalog, table.db, table.name)
    names.dataset(table.db, f"{table.db}.{table.name}")
    location = job_location()
    if enforced("dataset_location") and location and datasets.exists(*reference[:2]):
        actual = datasets.get(*reference[:2]).location or "US"
        if actual.casefold() != location.casefold() and table.db != tables.RESULTS:
            raise BigQueryError(
                "notFound", f"Not found: Dataset {reference[0]}:{table.db} was not found in location {location}"
            )
    if table.args.get("when"):
        return
    kind = tree.args.get("kind")
    is_created = isinstance(tree, exp.Create) or tree.args.get("exists") or kind not in (None, "TABLE", "VIEW")
    if is_target and is_created:
        return
    found = stored(reference) or Table()
    if not table_rules.database.objects(*reference) or tables.expired(found):
        raise table_rules._not_found(*reference)
    if is_target and isinstance(tree, names.DML) and found.type == "SNAPSHOT":
        raise BigQueryError("invalid", f"Table {names.label(*reference)} is a snapshot, and snapshots are immutable.")
