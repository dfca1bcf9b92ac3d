"""What a new table inherits from its dataset, and what a table loses when its rows are overwritten.

https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets: `defaultTableExpirationMs`,
`defaultPartitionExpirationMs` and `defaultEncryptionConfiguration`. CREATE OR REPLACE creates a new table.
"""

import dataclasses

from local_bigquery.catalog import ddl, metadata, options, tables
from local_bigquery.models import Dataset, Table


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    know_more_options()
    inherit_from_the_dataset()
    drop_constraints_with_the_rows()


def know_more_options() -> None:
    """Unpatched: the options for encryption keys and for partition expiration are ignored."""
    key = options.Option("encryptionConfiguration", parse=lambda node, evaluate: {"kmsKeyName": evaluate(node)})
    options.TABLE_OPTIONS["kms_key_name"] = key
    options.DATASET_OPTIONS["default_kms_key_name"] = dataclasses.replace(key, key="defaultEncryptionConfiguration")
    days = options.OPTIONS["default_table_expiration_days"]
    for_partitions = dataclasses.replace(days, key="defaultPartitionExpirationMs")
    options.DATASET_OPTIONS["default_partition_expiration_days"] = for_partitions
    definition = ddl._table

    def definition_with_expiration(tree, reference, evaluate):
        resource = definition(tree, reference, evaluate)
        given = options.options(
            tree.args.get("properties"),
            {"partition_expiration_days": dataclasses.replace(days, key="expirationMs")},
            evaluate,
        )
        return resource | {"timePartitioning": resource["timePartitioning"] | given} if given else resource

    ddl._table = definition_with_expiration


def inherit_from_the_dataset() -> None:
    """Unpatched: a table inherits neither the dataset's partition expiration nor its encryption key."""
    record = tables.record

    def record_with_defaults(project_id, dataset_id, table_id, resource):
        reference = (project_id, dataset_id, table_id)
        stored = metadata.load(Table, *reference)
        if stored is None or stored.creationTime != resource.creationTime:
            resource = _inherited(resource, metadata.load(Dataset, project_id, dataset_id) or Dataset())
        record(*reference, resource)

    tables.record = record_with_defaults


def _inherited(resource, dataset):
    if dataset.defaultEncryptionConfiguration and not resource.encryptionConfiguration:
        resource = resource.replace(encryptionConfiguration=dataset.defaultEncryptionConfiguration.dump())
    partitioning, milliseconds = resource.timePartitioning, dataset.defaultPartitionExpirationMs
    if not partitioning or not milliseconds:
        return resource
    # The default partition expiration replaces the default table expiration, unless the table sets its own.
    by_default = dataset.defaultTableExpirationMs and resource.expirationTime
    if by_default and int(by_default) - int(resource.creationTime) == int(dataset.defaultTableExpirationMs):
        resource = resource.without("expirationTime")
    kept = partitioning.expirationMs or milliseconds
    return resource.replace(timePartitioning=partitioning.replace(expirationMs=kept))


def drop_constraints_with_the_rows() -> None:
    """Unpatched: a job with WRITE_TRUNCATE keeps the table's constraints; only WRITE_TRUNCATE_DATA should.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad.FIELDS.write_disposition
    """
    write = tables.write

    def write_and_drop(cur, sql, params, reference, config, *arguments, **more):
        made = write(cur, sql, params, reference, config, *arguments, **more)
        if config.writeDisposition == "WRITE_TRUNCATE" and (stored := metadata.load(Table, *reference)):
            tables.record(*reference, stored.without("tableConstraints"))
        return made

    tables.write = write_and_drop
