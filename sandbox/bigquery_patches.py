"""Small patches in memory for differences between the BigQuery emulator and BigQuery.

They are for local-bigquery 0.4.0 and run inside its process, in its environment. Each function's docstring says how the
unpatched emulator behaves. README.md in this folder lists the remaining differences.
"""

import contextlib
import contextvars
import dataclasses
import functools
import itertools
import os
import re
import tempfile
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from local_bigquery.catalog import datasets, names, options, tables
from local_bigquery.engine import database, types
from local_bigquery.errors import BigQueryError
from local_bigquery.grpc import read
from local_bigquery.jobs import extract, load, merge, query, runner
from local_bigquery.settings import settings
from local_bigquery.sql.rules import json as json_rules
from local_bigquery.sql.translate import translate
from sqlglot import exp


def apply(storage_url: str) -> None:
    """Patch the emulator's modules; call once, before the first request.

    `storage_url` is the URL of the Cloud Storage emulator whose folder the emulator reads, "" if it reads over HTTP.
    """
    load_bytes_from_parquet()
    load_wide_decimals_from_parquet()
    keep_the_schema_as_write_dispositions_promise()
    parse_json_inside_merge()
    parse_whole_numbers_of_json()
    quote_aliases_of_merge()
    replace_a_table_atomically()
    refuse_duplicate_job_ids_under_concurrency()
    create_tables_one_by_one()
    take_an_expiration_away()
    read_nested_texts_from_the_storage_api()
    tell_the_location_of_a_table()
    if storage_url:
        show_extracted_files_to_cloud_storage(storage_url)


def load_bytes_from_parquet() -> None:
    """Unpatched: Parquet with a BYTES column and an explicit schema fails: "from_base64(BLOB)".

    Only text formats use base64; a Parquet column holds the bytes themselves.
    """
    decoded = load._decoded
    is_text = contextvars.ContextVar("is_text")
    projection = load._projection

    def projection_of_format(config, fields, columns):
        is_text.set((config.sourceFormat or "CSV") in load.TEXT_FORMATS)
        return projection(config, fields, columns)

    def decoded_if_text(expression, field, depth=0):
        return decoded(expression, field, depth) if is_text.get() else expression

    load._projection = projection_of_format
    load._decoded = decoded_if_text


def load_wide_decimals_from_parquet() -> None:
    """Unpatched: a Parquet decimal with more than 38 digits passes through a double, exact to 17 digits.

    DuckDB has no decimal type that wide. The patch reads text and casts it to the emulator's BIGNUMERIC, exact to 18
    decimals.
    """
    reader = load._reader

    def reader_with_wide_decimals(cur, files, config, fields):
        if config.sourceFormat != "PARQUET":
            return reader(cur, files, config, fields)
        paths = [path for (path,) in cur.sql(f"SELECT file FROM glob({files})").fetchall()]
        wide = {path for path in paths if pq.read_schema(path) != _wide_as_text(pq.read_schema(path))}
        if not wide:
            return reader(cur, files, config, fields)
        loaded = [pq.ParquetFile(path).read() for path in paths]
        for table in loaded:
            _refuse_long_decimals(table)
        loaded = [table.cast(_wide_as_text(table.schema)) for table in loaded]
        cur.register("_wide_decimals", pa.concat_tables(loaded, promote_options="default"))
        return "_wide_decimals"

    load._reader = reader_with_wide_decimals


def _refuse_long_decimals(table: pa.Table) -> None:
    """Raise BigQueryError for a decimal that the emulator would round: its BIGNUMERIC has 18 decimals."""
    for column in table.columns:
        for chunk in column.chunks:
            values = chunk
            while pa.types.is_list(values.type):
                values = values.flatten()
            if not pa.types.is_decimal256(values.type):
                continue
            too_long = pc.match_substring_regex(values.cast(pa.string()), r"\.\d{18}\d*[1-9]|[1-9].*E-(19|[23]\d)")
            if pc.any(too_long).as_py():
                raise BigQueryError("invalid", "The sandbox keeps 18 decimals of a BIGNUMERIC, and refuses more")


def _wide_as_text(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(f.name, _wide_type_as_text(f.type)) for f in schema])


def _wide_type_as_text(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal256(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_wide_type_as_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _wide_type_as_text(f.type)) for f in kind])
    return kind


def keep_the_schema_as_write_dispositions_promise() -> None:
    """Unpatched: WRITE_TRUNCATE_DATA replaces the whole table; BigQuery replaces only the rows.

    Also, a load that creates or truncates its table ignores the REQUIRED modes of its schema.
    """
    write = tables.write

    def write_as_promised(cur, sql, params, reference, config, *arguments, **options):
        found = tables.exists(*reference)
        keeps = found and config.writeDisposition == "WRITE_TRUNCATE_DATA"
        replaces = config.writeDisposition == "WRITE_TRUNCATE" or not found
        fields = (getattr(config, "schema_", None) and config.schema_.fields) or []
        required = [field.name for field in fields if field.mode == "REQUIRED"] if replaces else []
        if not keeps and not required:
            return write(cur, sql, params, reference, config, *arguments, **options)
        table = tables.name(*reference)
        with _transaction(cur):
            if keeps:
                cur.execute(f"DELETE FROM {table}")
                config = config.replace(writeDisposition="WRITE_APPEND")
            write(cur, sql, params, reference, config, *arguments, **options)
            for name in required:
                cur.execute(f"ALTER TABLE {table} ALTER COLUMN {database.quote(name)} SET NOT NULL")
        return replaces  # so that the caller records the descriptions of the new schema

    tables.write = write_as_promised


def parse_json_inside_merge() -> None:
    """Unpatched: PARSE_JSON(x, wide_number_mode=>'round') fails inside MERGE.

    The emulator splits MERGE into smaller statements as text. There the function has another name, with which the
    emulator does not recognize the named argument.
    """
    run = merge.run

    def run_with_positional_arguments(cur, tree, context):
        tree = tree.copy()
        for call in tree.find_all(exp.Anonymous):
            json_rules.wide_number_mode(call, context)
        return run(cur, tree, context)

    merge.run = run_with_positional_arguments


def parse_whole_numbers_of_json() -> None:
    """Unpatched: PARSE_JSON(x, wide_number_mode=>'round') turns a document that is one integer into a double: 3.0.

    BigQuery keeps integers up to 2^64-1. In either mode it refuses numbers outside FLOAT64, and lone surrogates:
    https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#parse_json
    """
    connect = database._connect
    functions = next(path for path in database.FUNCTIONS if path.name == "json.sql").read_text()
    macro = functions[functions.index("CREATE MACRO parse_json(") :].partition(";")[0]
    corrected = macro.replace("CREATE MACRO ", "CREATE OR REPLACE MACRO bq.main.").replace("'UBIGINT', ", "")
    accepted = "bq.main._accepted_json(s)"
    corrected = re.sub(r"(\bjson|_parse_json_exact)\(s\)", rf"\1({accepted})", corrected)
    # An object is no number: without this, DuckDB parses it five times.
    is_object = f"WHEN starts_with(s, '{{') THEN json({accepted})"
    corrected = corrected.replace("WHEN 'round' THEN CASE", f"WHEN 'round' THEN CASE {is_object}")

    @functools.cache
    def connect_and_correct():
        connection = connect()
        connection.execute(_REFUSED_JSON)
        connection.execute(corrected)
        # The default is 80 % of the machine's memory, but several sandboxes share a machine.
        connection.execute(f"SET memory_limit = '{_MEMORY}'; SET temp_directory = '{settings.data_dir / 'spilled'}'")
        if threads := os.environ.get("SANDBOX_BIGQUERY_THREADS"):
            connection.execute(f"SET threads = {int(threads)}")
        return connection

    database._connect = connect_and_correct


# An exponent of three digits, or more digits than a FLOAT64 has: the patch converts such a number to see if it fits.
_REFUSED_JSON = r"""
CREATE OR REPLACE MACRO bq.main._accepted_json(s) AS CASE
    WHEN regexp_matches(s, '[eE]\+?\d{3,}|\d{309,}') AND list_bool_or(list_transform(
        regexp_extract_all(regexp_replace(s, '"(\\.|[^"\\])*"', '""', 'g'), '-?\d+(\.\d+)?([eE][+-]?\d+)?'),
        lambda number: isinf(CAST(number AS DOUBLE))))
        THEN _raise('Invalid input to PARSE_JSON: number overflow')
    WHEN contains(s, '\u') AND regexp_matches(
        regexp_replace(replace(s, '\\', ''),
            '\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}', '', 'g'),
        '\\u[dD][89a-fA-F][0-9a-fA-F]{2}')
        THEN _raise('Invalid input to PARSE_JSON: invalid string: surrogate U+D800..U+DBFF must be followed by '
            || 'U+DC00..U+DFFF')
    ELSE s
END
"""
_MEMORY = "4GB"


def quote_aliases_of_merge() -> None:
    """Unpatched: MERGE into t AS `a-b` fails with "Unexpected .", because its smaller statements lack the quotes."""
    run = merge.run

    def run_with_quoted_aliases(cur, tree, context):
        tree = tree.copy()
        for table in (tree.this, tree.args["using"]):
            if alias := table.args.get("alias"):
                alias.this.set("this", f"`{alias.name}`")
        return run(cur, tree, context)

    merge.run = run_with_quoted_aliases


def replace_a_table_atomically() -> None:
    """Unpatched: CREATE OR REPLACE TABLE t (columns) AS SELECT … empties t first.

    A failure, or a SELECT from t itself, then loses the rows. The patch selects the rows first, and replaces table and
    rows in one transaction.
    """
    run, split = query._run, query.ddl.split
    selected = contextvars.ContextVar("selected", default=None)

    def run_in_transaction(cur, tree, context, destination, config, dry_run, isolated):
        arguments = (destination, config, dry_run, isolated)
        if dry_run or not _declares_and_selects(tree):
            return run(cur, tree, context, *arguments)
        sql, bound = translate(tree.expression, context)
        cur.execute(f"CREATE OR REPLACE TEMP TABLE __selected AS {sql}", bound)
        target = tables.name(*names.reference(tree.find(exp.Table), context.project_id, context.dataset_id))
        token = selected.set(target)
        try:
            return run(cur, tree, context, *arguments)
        except BaseException:
            with contextlib.suppress(Exception):  # no transaction may be open
                cur.execute("ROLLBACK")
            raise
        finally:
            selected.reset(token)
            cur.execute("DROP TABLE IF EXISTS temp.__selected")

    def split_in_transaction(tree):
        parts = split(tree)
        if not (target := selected.get()) or not _declares_and_selects(tree):
            return parts
        insert = exp.Command(this=f"INSERT INTO {target} SELECT * FROM temp.__selected")
        return [exp.Command(this="BEGIN"), parts[0], insert, exp.Command(this="COMMIT")]

    query._run = run_in_transaction
    query.ddl.split = split_in_transaction


def _declares_and_selects(tree: exp.Expression) -> bool:
    return (
        isinstance(tree, exp.Create)
        and tree.args.get("kind") == "TABLE"
        and isinstance(tree.this, exp.Schema)
        and isinstance(tree.expression, exp.Query)
        and not tree.find(exp.TemporaryProperty)
    )


def refuse_duplicate_job_ids_under_concurrency() -> None:
    """Unpatched: two simultaneous requests with one job id both succeed; look-up and insertion are not atomic."""
    submit, lock = runner.submit, threading.Lock()

    def submit_one_by_one(*arguments, **options):
        with lock:
            return submit(*arguments, **options)

    runner.submit = submit_one_by_one


def create_tables_one_by_one() -> None:
    """Unpatched: of two simultaneous creations of a table one fails with "Failed to commit", not "Already Exists"."""
    create, lock = tables.create, threading.Lock()

    def create_alone(*arguments, **options):
        with lock:
            return create(*arguments, **options)

    tables.create = create_alone


def take_an_expiration_away() -> None:
    """Unpatched: ALTER TABLE … SET OPTIONS (expiration_timestamp = NULL) fails with an internal error."""
    option = options.OPTIONS["expiration_timestamp"]

    def milliseconds_or_none(node, evaluate):
        return None if isinstance(node, exp.Null) else option.parse(node, evaluate)

    options.TABLE_OPTIONS["expiration_timestamp"] = dataclasses.replace(option, parse=milliseconds_or_none)


def read_nested_texts_from_the_storage_api() -> None:
    """Unpatched: JSON, GEOGRAPHY and INTERVAL in arrays and structs are in an internal form, not text, in Arrow."""
    column = read._column

    def column_with_texts(name, kind, data_format):
        if data_format != read.ARROW:
            return column(name, kind, data_format)
        expression = _texts(database.quote(name), kind, itertools.count())
        if types.field(name, kind).mode == "REPEATED":
            expression = f"coalesce({expression}, [])"
        return f"{expression} AS {database.quote(name)}"

    read._column = column_with_texts


def _texts(expression, kind, numbers):
    if not types._range(kind) and (element := types._element(kind)):
        one = f"e{next(numbers)}"
        return f"list_transform({expression}, lambda {one}: {_texts(one, element, numbers)})"
    if types._range(kind) is None and kind.id == "struct":
        parts = ", ".join(
            f"{database.quote(name)}: {_texts(f'{expression}.{database.quote(name)}', child, numbers)}"
            for name, child in kind.children
        )
        return f"CASE WHEN {expression} IS NULL THEN NULL ELSE {{{parts}}} END"
    is_text = types._range(kind) is None and types.field("x", kind).type in read.ENCODED[read.ARROW]
    return types.encode(expression, kind) if is_text else expression


def tell_the_location_of_a_table() -> None:
    """Unpatched: every table's location is US, whatever the location of its dataset."""
    load = tables.load

    def load_with_location(project_id, dataset_id, table_id):
        table = load(project_id, dataset_id, table_id)
        # Query results are in a hidden dataset.
        is_shown = datasets.exists(project_id, dataset_id)
        return table.replace(location=datasets.get(project_id, dataset_id).location) if is_shown else table

    tables.load = load_with_location


def show_extracted_files_to_cloud_storage(storage_url: str) -> None:
    """Unpatched: extracted files go straight into the folder of the Cloud Storage emulator, which never lists them."""

    @contextlib.contextmanager
    def uploaded(uri):
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        with tempfile.TemporaryDirectory() as folder:
            staged = Path(folder, "object")
            yield str(staged)
            query = urllib.parse.urlencode({"uploadType": "media", "name": name})
            url = f"{storage_url}/upload/storage/v1/b/{bucket}/o?{query}"
            with urllib.request.urlopen(urllib.request.Request(url, staged.read_bytes(), method="POST")):
                pass

    extract.written = uploaded


@contextlib.contextmanager
def _transaction(cur):
    cur.execute("BEGIN")
    try:
        yield
    except BaseException:
        cur.execute("ROLLBACK")
        raise
    cur.execute("COMMIT")
