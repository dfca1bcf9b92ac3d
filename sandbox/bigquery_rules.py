"""Which of BigQuery's refusals the sandbox enforces; the modules `bigquery_rules_*` have the rules themselves.

A rule refuses what Google's documentation says is refused, in BigQuery's own words. SANDBOX_BIGQUERY_RULES_OFF lists
the disabled rules, comma-separated; an empty value enables all.
"""

import os

# Rules that the product breaks, which are disabled by default.
NOT_YET = frozenset[str]()

RULES = {
    "bucket_location": "a load from a bucket that is elsewhere than the dataset",
    "dataset_location": "a query over a dataset that is elsewhere than the job",
    "key_types": "a primary key of other types, or of more columns, than are allowed",
    "metadata_rate": "more than five updates of a table's metadata in ten seconds",
    "partition_filter": "a statement without the partition filter that the table requires",
    "partitions": "more than 4,000 partitions modified by a job, or 10,000 in a table",
    "policy_tags": "policy tags in a schema without the right to set them",
    "replaced_layout": "CREATE OR REPLACE TABLE with another partitioning or clustering",
    "required_columns": "a query's result written to a table with REQUIRED columns",
    "row_access": "DML, and reads by the Storage API, without a filter that lets every row through",
    "transaction_ddl": "DDL on permanent tables inside a transaction",
    "truncate_data_columns": "a load with WRITE_TRUNCATE_DATA of some of the table's columns",
}


def rules_off() -> frozenset[str]:
    """Return the names of the disabled rules. Raises ValueError for a name that does not exist."""
    given = os.environ.get("SANDBOX_BIGQUERY_RULES_OFF")
    names = NOT_YET if given is None else frozenset(name.strip() for name in given.split(",") if name.strip())
    if unknown := names - RULES.keys():
        raise ValueError(f"SANDBOX_BIGQUERY_RULES_OFF: no rule is called {', '.join(sorted(unknown))}")
    return names


_OFF = rules_off()


def enforced(rule: str) -> bool:
    """Return whether the rule of that name is enabled."""
    assert rule in RULES, rule
    return rule not in _OFF
