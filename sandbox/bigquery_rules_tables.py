"""Rules about tables: their layout, their keys, the tags of their columns, and how often they may change.

Each rule is one function; its docstring says what BigQuery refuses and links to the documentation. Messages are
BigQuery's own if they are known.
"""

import collections
import threading
import time

from bigquery_rules import enforced
from local_bigquery import errors
from local_bigquery.catalog import datasets, ddl, metadata, names, tables
from local_bigquery.engine import types
from local_bigquery.errors import BigQueryError
from local_bigquery.models import RowAccessPolicy, Table
from sqlglot import exp

# This label on a dataset means that the caller has bigquery.tables.setCategory there.
MAY_SET_POLICY_TAGS = "sandbox_may_set_policy_tags"

_KEY_TYPES = frozenset({"BIGNUMERIC", "BOOL", "DATE", "DATETIME", "INT64", "NUMERIC", "STRING", "TIMESTAMP"})
_MAX_KEY_COLUMNS = 16
_OPERATIONS, _SECONDS = 5, 10
_operations: dict[tuple, collections.deque] = collections.defaultdict(collections.deque)
_operations_lock = threading.Lock()


def check_replaced_layout(reference, resource: Table) -> None:
    """CREATE OR REPLACE TABLE cannot change how an existing table is partitioned or clustered.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#create_table_statement: "It
    is not possible to use the OR REPLACE modifier to replace a table with a different kind of partitioning."
    """
    if not enforced("replaced_layout") or not tables.exists(*reference):
        return
    stored = metadata.load(Table, *reference) or Table()
    for kind, layout in (("partitioning", _partitioning), ("clustering", _clustering)):
        if layout(stored) != layout(resource):
            raise BigQueryError(
                "invalidQuery",
                f"Cannot replace a table with a different {kind} spec. Instead, DROP the table, and then recreate it.",
            )


def _partitioning(table):
    if table.timePartitioning:
        return (table.timePartitioning.type or "DAY", (table.timePartitioning.field or "").casefold())
    return table.rangePartitioning and table.rangePartitioning.dump()


def _clustering(table):
    return [field.casefold() for field in (table.clustering and table.clustering.fields) or []]


def check_key(resource: Table, fields) -> None:
    """A primary key has at most 16 columns, of the listed types.

    https://cloud.google.com/bigquery/docs/primary-foreign-keys, and "PRIMARY KEY" in the DDL reference: the columns are
    of the types BIGNUMERIC, BOOLEAN, DATE, DATETIME, INT64, NUMERIC, STRING or TIMESTAMP. The wording is ours.
    """
    key = resource.tableConstraints and resource.tableConstraints.primaryKey
    if not enforced("key_types") or not key:
        return
    if len(key.columns) > _MAX_KEY_COLUMNS:
        raise BigQueryError("invalid", f"Primary key has {len(key.columns)} columns; the maximum is {_MAX_KEY_COLUMNS}")
    found = {field.name.casefold(): field for field in fields}
    for name in key.columns:
        field = found.get(name.casefold())
        if field is None:
            raise BigQueryError("invalid", f"Primary key column {name} does not exist in the table schema")
        kind = types.bigquery_type(field)
        if kind not in _KEY_TYPES:
            raise BigQueryError("invalid", f"Column {name} of type {kind} cannot be used as a primary key column")


def check_policy_tags(reference, fields, current=()) -> None:
    """Policy tags in the schema of a table or a load job need bigquery.tables.setCategory, even if a load keeps them.

    https://cloud.google.com/bigquery/docs/column-level-security#set_policy; roles/bigquery.dataEditor lacks the right.
    """
    if not enforced("policy_tags") or not (tags := _tags(fields)) or tags == _tags(current):
        return
    if MAY_SET_POLICY_TAGS not in (datasets.get(*reference[:2]).labels or {}):
        table = names.label(*reference)
        raise BigQueryError(
            "accessDenied",
            f"Access Denied: Table {table}: Permission bigquery.tables.setCategory denied on table {table} "
            "(or it may not exist).",
        )


def _tags(fields, path=()):
    tags = {}
    for field in fields or []:
        here = (*path, field.name.casefold())
        if field.policyTags and field.policyTags.names:
            tags[here] = tuple(field.policyTags.names)
        tags |= _tags(field.fields, here)
    return tags


def count_operation(reference, run: str | None, *, is_subject: bool = True) -> None:
    """At most five updates of a table's metadata in ten seconds: tables.insert, .patch and .update, DDL, and load, copy
    and query jobs that write to the table. DML counts, but is not refused.

    https://cloud.google.com/bigquery/quotas#standard_tables. The sandbox counts the jobs of one run of the product, by
    their label: tests make many tables, and start many runs, within seconds.
    """
    if not enforced("metadata_rate") or run is None:
        return
    with _operations_lock:
        moments = _operations[(*(part.casefold() for part in reference), run)]
        now = time.monotonic()
        while moments and moments[0] <= now - _SECONDS:
            moments.popleft()
        if is_subject and len(moments) >= _OPERATIONS:
            raise BigQueryError(
                "rateLimitExceeded",
                "Exceeded rate limits: too many table update operations for this table. For more information, see "
                "https://cloud.google.com/bigquery/docs/troubleshoot-quotas",
            )
        moments.append(now)


def forget_what_a_replaced_table_had(reference) -> None:
    """CREATE OR REPLACE TABLE creates a new table, without the old one's row access policies and other metadata."""
    metadata.delete(RowAccessPolicy, *reference)


def checked_definition(tree: exp.Create, reference, evaluate, fields) -> None:
    """Apply the rules to a CREATE TABLE statement; `fields` are its columns, or None if they are not known yet."""
    resource = Table.model_validate(ddl._table(tree, reference, evaluate))
    if tree.args.get("replace"):
        check_replaced_layout(reference, resource)
    check_key(resource, fields or [])


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    errors.STATUSES["rateLimitExceeded"] = (403, "PERMISSION_DENIED")
    errors.STATUSES["bytesBilledLimitExceeded"] = (400, "INVALID_ARGUMENT")
    create, update, rename, forget = tables.create, tables.update, tables.rename, tables.forget

    def create_by_the_rules(project_id, dataset_id, body, translate):
        reference = (project_id, dataset_id, body.tableReference and body.tableReference.tableId)
        check_key(body, tables.fields(body))
        if datasets.exists(project_id, dataset_id):
            check_policy_tags(reference, tables.fields(body))
        return create(project_id, dataset_id, body, translate)

    def update_by_the_rules(project_id, dataset_id, table_id, body, etag, replace):
        reference = (project_id, dataset_id, table_id)
        current = tables.fields(tables.load(*reference))
        check_key(body, tables.fields(body) or current)
        check_policy_tags(reference, tables.fields(body), current)
        return update(*reference, body, etag, replace)

    def rename_with_policies(project_id, dataset_id, table_id, new_id):
        policies = metadata.list_(RowAccessPolicy, project_id, dataset_id, table_id)
        rename(project_id, dataset_id, table_id, new_id)
        for policy in policies:
            reference = policy.rowAccessPolicyReference.replace(tableId=new_id)
            keys = (project_id, dataset_id, new_id, reference.policyId)
            metadata.save(policy.replace(rowAccessPolicyReference=reference), *keys)

    def forget_with_policies(project_id, dataset_id, table_id):
        forget(project_id, dataset_id, table_id)
        metadata.delete(RowAccessPolicy, project_id, dataset_id, table_id)

    tables.create, tables.update = create_by_the_rules, update_by_the_rules
    tables.rename, tables.forget = rename_with_policies, forget_with_policies
