"""Bytes stored in a table and bytes processed by a statement, by BigQuery's rules for on-demand queries.

Sizes of values: https://cloud.google.com/bigquery/pricing#data. Queries and DML: "On-demand query size calculation" in
https://cloud.google.com/bigquery/docs/estimate-costs. Blocks of a clustered table are pruned by a filter on its first
clustering column, as if they were perfectly sorted and small; only dry runs do not count that.
"""

import contextlib
import itertools
import math

import bigquery_scripts
import duckdb
from bigquery_partitions import partition_column, partition_id, pruning_filter, stored
from local_bigquery.catalog import names, tables
from local_bigquery.engine.database import quote
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import query, runner
from local_bigquery.sql.rules import tables as table_rules
from local_bigquery.sql.translate import translate
from sqlglot import exp

_MEGABYTE = 1 << 20
_LEAST_PER_TABLE = 10 * _MEGABYTE
# The rows of a block in a clustered table; BigQuery's are larger, and adapted to the size of the table.
_ROWS_PER_BLOCK = 100
_SIZES = {"BOOLEAN": 1, "NUMERIC": 16, "BIGNUMERIC": 32, "INTERVAL": 16, "RANGE": 16}
_IS_ESTIMATE = "sandbox_is_estimate"
_DML_THAT_CHANGES_ROWS = (exp.Update, exp.Delete, exp.Merge)


def row_size(fields) -> str:
    """Return DuckDB's expression for the logical bytes of the columns `fields` in a row."""
    numbers = itertools.count()
    return " + ".join(_size(quote(field.name), field, numbers) for field in fields) or "0"


def _size(value, field, numbers) -> str:
    if field.mode == "REPEATED":
        one = f"e{next(numbers)}"
        element = _size(one, field.replace(mode="NULLABLE"), numbers)
        return f"coalesce(list_sum(list_transform({value}, lambda {one}: {element})), 0)"
    match field.type:
        case "RECORD":
            parts = (_size(f"{value}.{quote(one.name)}", one, numbers) for one in field.fields or [])
            size = " + ".join(parts) or "0"
        case "STRING" | "JSON":
            size = f"{2 if field.type == 'STRING' else 0} + strlen(CAST({value} AS VARCHAR))"
        case "BYTES":
            size = f"2 + octet_length({value})"
        case "GEOGRAPHY":
            size = f"16 + 24 * ST_NPoints({value})"
        case kind:
            size = str(_SIZES.get(kind, 8))
    return f"(CASE WHEN {value} IS NULL THEN 0 ELSE {size} END)"


def table_bytes(cur, reference, fields=None, where: str = "TRUE", bound=None) -> int:
    """Return the logical bytes of the columns `fields`, by default all, in the rows that match `where`."""
    fields = tables.columns(*reference) if fields is None else fields
    sql = f"SELECT coalesce(sum({row_size(fields)}), 0) FROM {tables.name(*reference)} WHERE {where}"
    return int(cur.execute(sql, bound or {}).fetchone()[0]) if fields else 0


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    count_the_bytes_of_statements()
    count_the_bytes_of_expressions()
    count_the_bytes_of_tables()


def count_the_bytes_of_tables() -> None:
    """Unpatched: the size of a table is eight bytes per value, and its number of rows is an estimate."""
    get = tables.get

    def get_with_size(project_id, dataset_id, table_id, selected_fields=None, view=None):
        reference = (project_id, dataset_id, table_id)
        table = get(*reference, selected_fields, view)
        if table.type != "TABLE" or view == "BASIC" or dataset_id == tables.RESULTS or not tables.fields(table):
            return table
        if table.numRows == "0":
            return table  # the estimate is exact: no row was ever inserted
        with tables.database.cursor() as cur:
            sums = f"count(*), coalesce(sum({row_size(tables.columns(*reference))}), 0)"
            [(rows, size)] = cur.execute(f"SELECT {sums} FROM {tables.name(*reference)}").fetchall()
        sizes = dict.fromkeys(("numBytes", "numTotalLogicalBytes", "numActiveLogicalBytes"), str(int(size)))
        return table.replace(numRows=str(rows), **sizes)

    tables.get = get_with_size


def count_the_bytes_of_statements() -> None:
    """Unpatched: queries process no bytes, and `maximumBytesBilled` is not enforced."""
    run, done = query._run, runner._done

    def run_and_count(cur, tree, context, destination, config, dry_run, isolated):
        processed, billed, changed = 0, 0, 0
        if isinstance(tree, (exp.Query, exp.Create, exp.Insert, exp.Export, *_DML_THAT_CHANGES_ROWS)):
            # Which blocks are pruned is known when the query has run.
            context.settings[_IS_ESTIMATE] = dry_run
            processed, billed = read_bytes(cur, tree, context)
            changed = changed_bytes(cur, tree, context)
            del context.settings[_IS_ESTIMATE]
            _refuse_expensive(config, billed + changed, dry_run)
        context.modified_bytes = None
        statistics = run(cur, tree, context, destination, config, dry_run, isolated)
        if changed and context.modified_bytes is not None:
            changed = context.modified_bytes
        if changed:
            processed, billed = processed + changed, max(billed, _rounded(processed + changed))
        return statistics.replace(totalBytesProcessed=str(processed), totalBytesBilled=str(billed))

    def done_with_bytes(job, statistics, error=None):
        finished = done(job, statistics, error)
        processed = finished.statistics.query and finished.statistics.query.totalBytesProcessed
        return finished.replace(statistics=finished.statistics.replace(totalBytesProcessed=processed or "0"))

    query._run, runner._done = run_and_count, done_with_bytes


def count_the_bytes_of_expressions() -> None:
    """Count the queries inside a script's DECLARE, SET and IF too."""
    interpreter = bigquery_scripts.Interpreter
    store, assign = interpreter.store, interpreter.assign

    def counted(self, value):
        select = exp.select(value.copy())
        for total, size in zip(self.expression_bytes, read_bytes(self.cursor, select, self.context), strict=True):
            self.expression_bytes[total] += size

    def store_and_count(self, value):
        counted(self, value)
        return store(self, value)

    def assign_and_count(self, table, value):
        counted(self, value)
        return assign(self, table, value)

    interpreter.store, interpreter.assign = store_and_count, assign_and_count


def _refuse_expensive(config, billed, dry_run):
    limit = config.maximumBytesBilled
    if limit is not None and not dry_run and billed > int(limit):
        raise BigQueryError(
            "bytesBilledLimitExceeded",
            f"Query exceeded limit for bytes billed: {limit}. {billed} or higher required.",
        )


def _rounded(size: int) -> int:
    return max(_LEAST_PER_TABLE, math.ceil(size / _MEGABYTE) * _MEGABYTE)


def read_bytes(cur, tree, context) -> tuple[int, int]:
    """Return how many bytes a statement reads, and how many are billed: at least 10 MB for each table."""
    processed = billed = 0
    ctes = {cte.alias_or_name.casefold() for cte in tree.find_all(exp.CTE)}
    target = names.target(tree)
    for table in tree.find_all(exp.Table):
        if table is target and not isinstance(tree, _DML_THAT_CHANGES_ROWS):
            continue
        reference = table_rules.resolve(table, context, ctes)
        if not reference or not tables.exists(*reference):
            continue
        with contextlib.suppress(BigQueryError, duckdb.Error):  # the statement itself then fails with a clear error
            columns = _referenced(tree, table, tables.columns(*reference))
            size = table_bytes(cur, reference, columns, *_pruned(table, reference, context))
            processed += size
            billed += _rounded(size) if size else 0
    return processed, billed


def changed_bytes(cur, tree, context) -> int:
    """Return the bytes of all columns in the table or the partitions in which a statement changes rows.

    In a partitioned table the statement's filter limits the partitions. Which of them have changed rows is known only
    after the statement has run.
    """
    if not isinstance(tree, _DML_THAT_CHANGES_ROWS) or not _changes_rows(tree):
        return 0
    target = names.target(tree)
    reference = table_rules.resolve(target, context, set())
    if not reference or not tables.exists(*reference):
        return 0
    return table_bytes(cur, reference, None, *_pruned(target, reference, context))


def _changes_rows(tree) -> bool:
    if not isinstance(tree, exp.Merge):
        return True
    return any(not isinstance(when.args["then"], exp.Insert) for when in tree.args["whens"].expressions)


def _pruned(table, reference, context):
    """Return a condition that selects the rows of the scanned partitions and blocks, and its parameters' values."""
    resource = stored(reference)
    conditions, bounds = [], {}
    column = partition_column(resource)
    condition = pruning_filter(table, column) if column else None
    if condition is not None:
        sql, bound = translate(_selected(reference, exp.column(column, quoted=True)).where(condition), context)
        wanted = partition_id(resource, f"kept.{quote(column)}")
        conditions.append(f"{partition_id(resource)} IN (SELECT DISTINCT {wanted} FROM ({sql}) AS kept)")
        bounds |= bound
    sorted_by = resource.clustering.fields if resource and resource.clustering else None
    is_executed = sorted_by and not context.settings.get(_IS_ESTIMATE)
    condition = _block_filter(table, sorted_by[0], tables.columns(*reference)) if is_executed else None
    if condition is not None:
        sql, bound = translate(_selected(reference, exp.column("rowid")).where(condition), context)
        partition = f"PARTITION BY {partition_id(resource)} " if column else ""
        order = f"{partition}ORDER BY {', '.join(map(quote, sorted_by))}"
        block = f"(row_number() OVER ({order}) - 1) // {_ROWS_PER_BLOCK}"
        blocks = f"SELECT rowid AS id, {partition_id(resource) if column else 0} AS part, {block} AS block"
        blocks = f"WITH blocks AS ({blocks} FROM {tables.name(*reference)})"
        kept = f"SELECT part, block FROM blocks WHERE id IN (SELECT rowid FROM ({sql}))"
        conditions.append(f"rowid IN ({blocks} SELECT id FROM blocks WHERE (part, block) IN ({kept}))")
        bounds |= bound
    return " AND ".join(conditions) or "TRUE", bounds


def _block_filter(table, sorted_by, columns):
    """Return the filter that compares the clustering column itself with known values, or None."""
    others = {column.name.casefold() for column in columns} - {sorted_by.casefold()}
    found = pruning_filter(table, sorted_by)
    parts = list(found.flatten()) if isinstance(found, exp.And) else [found]
    simple = [
        part
        for part in parts
        if part is not None
        and isinstance(part.this, exp.Column)
        and not any(column.name.casefold() in others for column in part.find_all(exp.Column))
    ]
    return exp.and_(*simple) if simple else None


def _selected(reference, column):
    return exp.select(column).from_(table_rules.exp.table_(*reversed(reference), quoted=True))


def _referenced(tree, table, columns):
    """Return the columns of the table that the statement reads."""
    scope = table.find_ancestor(exp.Select, exp.Merge, exp.Update, exp.Delete) or tree
    if isinstance(scope, exp.Select):
        nodes, alias = [scope], table.alias_or_name.casefold()
        if any(_is_star(one, alias) for one in scope.expressions):
            return columns
    elif isinstance(scope, exp.Merge):
        nodes = [scope.args["on"]]
        for when in scope.args["whens"].expressions:
            nodes += [when.args.get("condition"), *_values(when.args["then"])]
    else:
        nodes = [scope.args.get("where"), *_values(scope)]
    names_read = {
        column.name.casefold()
        for node in nodes
        if node is not None
        for column in node.find_all(exp.Column)
        if column.table.casefold() in ("", table.alias_or_name.casefold(), table.name.casefold())
    }
    return [column for column in columns if column.name.casefold() in names_read]


def _is_star(expression, alias) -> bool:
    if isinstance(expression, exp.Star):
        return True
    return isinstance(expression, exp.Column) and expression.is_star and expression.table.casefold() == alias


def _values(action):
    """Return the right-hand sides of SET."""
    return [one.expression for one in action.expressions if isinstance(one, exp.EQ)]
