"""Names that BigQuery allows, and names of PostgreSQL tables.

The patterns are also valid POSIX extended expressions, because `metadata.json` contains them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

# https://cloud.google.com/resource-manager/docs/creating-managing-projects: 6 to 30 characters. Projects of the
# time before organisations carry their domain in front, `example.com:project`.
PROJECT_PATTERN = "([a-z0-9][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
# https://cloud.google.com/bigquery/docs/datasets#dataset-naming
DATASET_PATTERN = "[A-Za-z0-9_]+"
MAX_DATASET_LENGTH = 1024
# https://cloud.google.com/bigquery/docs/schemas#column_names. Does not allow flexible column names, because some
# features that a sync uses do not support them.
COLUMN_PATTERN = "[A-Za-z_][A-Za-z0-9_]*"
FORBIDDEN_COLUMN_PREFIXES = (
    "_TABLE_",
    "_FILE_",
    "_PARTITION",
    "_ROW_TIMESTAMP",
    "__ROOT__",
    "_COLIDENTIFIER",
    "_CHANGE_SEQUENCE_NUMBER",
    "_CHANGE_TYPE",
    "_CHANGE_TIMESTAMP",
)
MAX_COLUMN_LENGTH = 300
# https://cloud.google.com/kms/docs/getting-resource-ids
KMS_KEY_PATTERN = (
    f"projects/{PROJECT_PATTERN}/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]{{1,63}}/cryptoKeys/[A-Za-z0-9_-]{{1,63}}"
)
# https://cloud.google.com/bigquery/docs/tables#table_naming
MAX_TABLE_BYTES = 1024
TABLE_CATEGORIES = ("L", "M", "N", "Pc", "Pd", "Zs")

# One part of a PostgreSQL name: in double quotes, where "" is a quote, or bare.
_POSTGRESQL_PART = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_SOURCE_TABLE = re.compile(rf"(?:({_POSTGRESQL_PART})\.)?({_POSTGRESQL_PART})")


@dataclass(frozen=True)
class SourceTable:
    """A table of the source as PostgreSQL stores its name; `schema` is None when the search path decides."""

    schema: str | None
    name: str


@dataclass(frozen=True)
class TableId:
    """A BigQuery table."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"


def check_project(name: str) -> str | None:
    """Return what is wrong with a project id, worded to follow it, or None."""
    if re.fullmatch(PROJECT_PATTERN, name):
        return None
    return (
        "a project id has 6 to 30 lower-case letters, digits and dashes, begins with a letter and does not end in a "
        "dash (older ones are written example.com:project)"
    )


def check_dataset(name: str) -> str | None:
    """Return what is wrong with a dataset's name, worded to follow it, or None."""
    if re.fullmatch(DATASET_PATTERN, name) and len(name) <= MAX_DATASET_LENGTH:
        return None
    if "." in name or ":" in name:
        return "give only the dataset; the project has a separate parameter"
    return "a dataset name has letters, digits and underscores, at most 1,024"


def check_kms_key(name: str) -> str | None:
    """Return what is wrong with the name of a key in Cloud KMS, worded to follow it, or None."""
    if re.fullmatch(KMS_KEY_PATTERN, name):
        return None
    return "write projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a version"


def check_table(name: str) -> str | None:
    """Return what is wrong with a table's name, worded to follow it, or None."""
    if "." in name or ":" in name:
        return "give only the table; project and dataset have separate parameters"
    if "$" in name or "*" in name:
        return "partition decorators ($) and wildcards (*) are not table names"
    wrong = sorted({character for character in name if not _allowed_in_table(character)})
    if wrong:
        return f"a table name has letters, digits, underscores, dashes and spaces, not {' '.join(map(repr, wrong))}"
    if len(name.encode(errors="replace")) > MAX_TABLE_BYTES:
        return "a table name has at most 1,024 bytes in UTF-8"
    return None


def sanitised_table(name: str) -> str:
    """Return `name` with an underscore for each character that BigQuery does not allow in the name of a table."""
    return "".join(character if _allowed_in_table(character) else "_" for character in name)


def check_column(name: str) -> str | None:
    """Return what is wrong with a column's name, worded to follow it, or None."""
    if len(name) > MAX_COLUMN_LENGTH:
        return "a BigQuery column name has at most 300 characters"
    if not re.fullmatch(COLUMN_PATTERN, name):
        return (
            "a BigQuery column name has ASCII letters, digits and underscores and begins with a letter or an underscore"
        )
    if not name.startswith("_"):
        return None
    for prefix in FORBIDDEN_COLUMN_PREFIXES:
        if name.upper().startswith(prefix):
            return f"BigQuery reserves column names that begin with {prefix}"
    return None


def sanitised_column(name: str, taken: Collection[str] = ()) -> str:
    """Return a column name that BigQuery allows, similar to `name`, and not in `taken` (ignoring case)."""
    # NFKD separates letters from their accents, so that `Größe` becomes `Grosse` and not `Gr__e`.
    decomposed = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    ascii_name = "".join(character for character in decomposed if not unicodedata.combining(character))
    # All reserved names begin with an underscore. Truncation leaves room for a numeric suffix.
    clean = re.sub("[^A-Za-z0-9_]+", "_", ascii_name).strip("_")[: MAX_COLUMN_LENGTH - 10] or "column"
    if clean[0].isdigit():
        clean = f"c_{clean}"
    folded = {other.lower() for other in taken}
    candidate, number = clean, 2
    while candidate.lower() in folded:
        candidate, number = f"{clean}_{number}", number + 1
    return candidate


def column_name(name: str) -> str:
    """Return the column of a field: its own name, or a similar one if BigQuery does not allow it.

    Depends only on the name, so that a field always has the same column.
    """
    if check_column(name) is None:
        return name
    readable = sanitised_column(name)
    if readable == "column":
        # The name has no allowed character, for example in another script.
        readable = f"field_{name.encode(errors='replace').hex()}"[:MAX_COLUMN_LENGTH]
    return readable


def parse_source_table(text: str) -> SourceTable:
    """Parse `schema.table` or `table`. Folds unquoted parts to lower case, as PostgreSQL does.

    Raises:
        ValueError: the text is not such a name; the message shows the syntax.
    """
    match = _SOURCE_TABLE.fullmatch(text)
    if match is None:
        raise ValueError('write schema.table or table, with other names in double quotes: public."Order Items"')
    schema, name = match.groups()
    return SourceTable(_stored(schema) if schema is not None else None, _stored(name))


def _stored(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()


def _allowed_in_table(character: str) -> bool:
    return unicodedata.category(character).startswith(TABLE_CATEGORIES)
