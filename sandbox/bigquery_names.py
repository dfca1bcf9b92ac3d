"""Names of tables in a case-insensitive dataset: `T` and `t` are one table there.

https://cloud.google.com/bigquery/docs/datasets#case-sensitivity
"""

from local_bigquery.catalog import metadata, names, tables
from local_bigquery.models import Dataset, Table


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    of_statement, of_job, create = names.reference, tables.reference, tables.create

    def create_once(project_id, dataset_id, body, translate):
        given = body.tableReference and body.tableReference.tableId
        if given:
            existing = stored_name(project_id, dataset_id, given)[2]
            body = body.replace(tableReference=body.tableReference.replace(tableId=existing))
        return create(project_id, dataset_id, body, translate)

    names.reference = lambda *arguments: stored_name(*of_statement(*arguments))
    tables.reference = lambda table: stored_name(*of_job(table))
    tables.create = create_once
    for name in ("get", "update", "delete"):
        setattr(tables, name, _by_stored_name(getattr(tables, name)))


def _by_stored_name(function):
    def with_stored_name(project_id, dataset_id, table_id, *arguments, **options):
        return function(*stored_name(project_id, dataset_id, table_id), *arguments, **options)

    return with_stored_name


def stored_name(project_id, dataset_id, table_id) -> tuple[str, str, str]:
    """Return the reference of a table as it was created."""
    dataset = dataset_id and metadata.load(Dataset, project_id, dataset_id)
    if dataset and dataset.isCaseInsensitive:
        for table in metadata.list_(Table, project_id, dataset_id):
            if table.tableReference.tableId.casefold() == table_id.casefold():
                return project_id, dataset_id, table.tableReference.tableId
    return project_id, dataset_id, table_id
