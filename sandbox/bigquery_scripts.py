"""Scripts and transactions as BigQuery runs them; patches of the emulator in memory, like `bigquery_patches`.

https://cloud.google.com/bigquery/docs/multi-statement-queries, https://cloud.google.com/bigquery/docs/transactions
"""

import contextlib

import duckdb
from bigquery_request import results_table
from bigquery_rules import enforced
from local_bigquery.catalog import ddl, metadata, tables
from local_bigquery.errors import BigQueryError, from_exception
from local_bigquery.jobs import merge, query, runner, store
from local_bigquery.models import JobConfiguration, JobStatistics, TableReference
from local_bigquery.sql import script
from local_bigquery.sql.rules import tables as table_rules
from sqlglot import exp

_TRANSACTION_TYPES = {
    exp.Transaction: "BEGIN_TRANSACTION",
    exp.Commit: "COMMIT_TRANSACTION",
    exp.Rollback: "ROLLBACK_TRANSACTION",
}
OPEN_TRANSACTION = "open_transaction"
_DDL_IN_TRANSACTION = (
    "DDL statements are not supported in a transaction, except for those creating or droping temporary tables or "
    "temporary functions."
)
# Statements whose result, if any, becomes the result of the script.
_WITH_RESULT = (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable, *query.DDL)


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    merge_inside_a_transaction()
    follow_transactions()
    answer_scripts_as_bigquery_does()
    keep_options_of_added_columns()
    rename_beside_a_default_dataset()


def merge_inside_a_transaction() -> None:
    """Unpatched: MERGE fails inside a transaction; it begins its own, and the error aborts the outer one."""
    run = merge.run

    def run_in_open_transaction(cur, tree, context):
        return run(_WithoutBegin(cur) if context.settings.get(OPEN_TRANSACTION) else cur, tree, context)

    merge.run = run_in_open_transaction


class _WithoutBegin:
    """A cursor inside a transaction. It refuses BEGIN itself, because the database would abort the transaction."""

    def __init__(self, cur):
        self._cur = cur

    def execute(self, sql, *arguments):
        if sql == "BEGIN":
            raise duckdb.TransactionException("cannot start a transaction within a transaction")
        return self._cur.execute(sql, *arguments)

    def __getattr__(self, name):
        return getattr(self._cur, name)


def follow_transactions() -> None:
    """Unpatched: transactions have no statement type, TRUNCATE TABLE has no DML statistics, transactions accept DDL.

    BigQuery refuses DDL on permanent tables in one: https://cloud.google.com/bigquery/docs/transactions#limitations
    """
    run, statement_type = query._run, query.statement_type

    def run_and_follow(cur, tree, context, *arguments):
        has_dynamic_schema = context.settings.get(OPEN_TRANSACTION)
        if (
            has_dynamic_schema
            and isinstance(tree, query.DDL)
            and not _is_temporary(tree, context)
            and enforced("transaction_ddl")
        ):
            raise BigQueryError("invalidQuery", _DDL_IN_TRANSACTION)
        statistics = run(cur, tree, context, *arguments)
        if isinstance(tree, exp.Transaction):
            context.settings[OPEN_TRANSACTION] = True
        elif isinstance(tree, exp.Commit | exp.Rollback):
            context.settings.pop(OPEN_TRANSACTION, None)
        elif isinstance(tree, exp.TruncateTable) and statistics.numDmlAffectedRows is not None:
            statistics = statistics.replace(dmlStats={"deletedRowCount": statistics.numDmlAffectedRows})
        return statistics

    query._run = run_and_follow
    query.statement_type = lambda tree: _TRANSACTION_TYPES.get(type(tree)) or statement_type(tree)


def _is_temporary(tree, context):
    target = tree.find(exp.Table)
    is_known = target is not None and not target.db and target.name.casefold() in context.temporary
    return is_known or tree.find(exp.TemporaryProperty) is not None


def answer_scripts_as_bigquery_does() -> None:
    """Unpatched: a script that ends with COMMIT TRANSACTION has no result, a failed one no child jobs and no position.

    BigQuery returns the result of the last SELECT, DML or DDL statement, and names the line that failed.
    """
    execute = query._execute

    def execute_script(cur, project_id, job_id, config, dry_run, isolated, context, statements):
        if dry_run or not script.is_script([one for one in statements if one.kind != "TEMP_FUNCTION"]):
            result_id = job_id and results_table(job_id)
            return execute(cur, project_id, result_id, config, dry_run, isolated, context, statements)
        script_config = config.replace(writeDisposition="WRITE_TRUNCATE")
        children, with_result = [], []

        def run_sql(tree):
            if query._temporary_function(tree):
                return query.js.bind(cur, tree, context) if query.js.is_udf(tree) else _execute(cur, tree, context)
            target = None
            if job_id and isinstance(tree, exp.Query):
                target = TableReference(projectId=project_id, datasetId=tables.RESULTS, tableId=results_table(job_id))
            statistics = query._statement(cur, tree, context, target, script_config, False, True)
            children.append(statistics)
            if isinstance(tree, _WITH_RESULT):
                with_result[:] = [target]
            return statistics

        try:
            interpreter = Interpreter(cur, context, run_sql, children.append, config.query)
            interpreter.run(statements)
        except Exception:
            _save_children(project_id, job_id, config, children)
            raise
        sums = {
            key: str(size + sum(int(getattr(one, key) or 0) for one in children))
            for key, size in interpreter.expression_bytes.items()
        }
        return query.JobStatistics2(statementType="SCRIPT", **sums), children, with_result[0] if with_result else None

    query._execute = execute_script


def _execute(cur, tree, context):
    cur.execute(query.translate(tree, context)[0])


class Interpreter(script.Interpreter):
    """Interprets a script, and reports the position of a failed statement: "Query error: … at [line:column]"."""

    def __init__(self, cursor, context, run_sql, report, text):
        super().__init__(cursor, context, run_sql, report)
        self._text = text
        self.expression_bytes = {"totalBytesProcessed": 0, "totalBytesBilled": 0}

    def sql(self, statement):
        with self._located(statement):
            super().sql(statement)

    def declare(self, statement):
        with self._located(statement):
            super().declare(statement)

    def set(self, statement):
        with self._located(statement):
            super().set(statement)

    @contextlib.contextmanager
    def _located(self, statement):
        try:
            yield
        except Exception as error:
            error = from_exception(error)
            if not error.message.startswith("Query error: "):
                before = self._text[: max(self._text.find(statement.text), 0)]
                line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
                error = BigQueryError(
                    error.reason, f"Query error: {error.message} at [{line}:{column}]", error.location
                )
            raise error from None


def _save_children(project_id, job_id, config, children):
    if not job_id:
        return
    for index, child in enumerate(children):
        job = runner._job(project_id, f"script_job_{job_id}_{index}", JobConfiguration(query=config, jobType="QUERY"))
        statistics = JobStatistics(parentJobId=job_id, startTime=metadata.now(), query=child)
        store.save(runner._done(job, statistics))


def keep_options_of_added_columns() -> None:
    """Unpatched: ALTER TABLE … ADD COLUMN loses the column's description and the parameters of its type."""
    alteration = ddl._alteration

    def alteration_with_options(stored, action, reference, evaluate):
        if not isinstance(action, exp.ColumnDef):
            return alteration(stored, action, reference, evaluate)
        added = ddl._fields(exp.Schema(expressions=[action.copy()]), evaluate)
        kept = [field for field in tables.fields(stored) if field.name.casefold() != action.name.casefold()]
        return {"schema": {"fields": [*kept, *added]}} if added else {}

    ddl._alteration = alteration_with_options


def rename_beside_a_default_dataset() -> None:
    """Unpatched: ALTER TABLE … RENAME TO looks for a table of the new name, in the job's default dataset."""
    resolve = table_rules.resolve

    def resolve_existing(table, context, ctes):
        return None if isinstance(table.parent, exp.AlterRename) else resolve(table, context, ctes)

    table_rules.resolve = resolve_existing
