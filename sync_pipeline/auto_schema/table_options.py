"""Table options and encryption, which a replacement table takes over from the existing one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from google.cloud import bigquery

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.googlesql import string_literal

_MILLISECONDS_A_DAY = 86_400_000


@dataclass(frozen=True)
class TableOptions:
    """The options of an existing table.

    Attributes:
        kms_key: the Cloud KMS key that encrypts the table; None for a Google-managed key.
        expires: when BigQuery deletes the table.
        partition_expiration_days: days after which BigQuery deletes a partition.
        requires_partition_filter: whether BigQuery rejects queries without a partition filter.
    """

    kms_key: str | None = None
    description: str | None = None
    friendly_name: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    expires: datetime | None = None
    partition_expiration_days: float | None = None
    requires_partition_filter: bool = False

    @classmethod
    def of(cls, table: bigquery.Table) -> TableOptions:
        """Return the options of a table from the API."""
        encryption, partitioning = table.encryption_configuration, table.time_partitioning
        expiration = partitioning.expiration_ms if partitioning else None
        return cls(
            kms_key=encryption.kms_key_name if encryption else None,
            description=table.description or None,
            friendly_name=table.friendly_name or None,
            labels=tuple(sorted(table.labels.items())),
            expires=table.expires,
            partition_expiration_days=expiration / _MILLISECONDS_A_DAY if expiration else None,
            requires_partition_filter=bool(table.require_partition_filter),
        )

    def sql(self, layout: TableLayout) -> Mapping[str, str]:
        """Return the options as GoogleSQL expressions, for a table with that layout.

        https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#table_option_list
        """
        options = {}
        if self.kms_key is not None:
            options["kms_key_name"] = string_literal(self.kms_key)
        if self.description is not None:
            options["description"] = string_literal(self.description)
        if self.friendly_name is not None:
            options["friendly_name"] = string_literal(self.friendly_name)
        if self.labels:
            pairs = (f"({string_literal(key)}, {string_literal(value)})" for key, value in self.labels)
            options["labels"] = f"[{', '.join(pairs)}]"
        if self.expires is not None:
            options["expiration_timestamp"] = self.expiration_sql
        if layout.partition_field is not None and self.partition_expiration_days is not None:
            options["partition_expiration_days"] = f"{self.partition_expiration_days:g}"
        if layout.partition_field is not None and self.requires_partition_filter:
            options["require_partition_filter"] = "TRUE"
        return options

    @property
    def expiration_sql(self) -> str:
        """The table's expiration time as a GoogleSQL expression."""
        return "NULL" if self.expires is None else f"TIMESTAMP {string_literal(self.expires.isoformat())}"


# The options of a table without any.
NO_OPTIONS = TableOptions()


def encrypted(table: bigquery.Table, kms_key: str | None) -> bigquery.Table:
    """Set the encryption key of a table before its creation, and return it. None means the dataset's default."""
    if kms_key is not None:
        table.encryption_configuration = bigquery.EncryptionConfiguration(kms_key_name=kms_key)
    return table
