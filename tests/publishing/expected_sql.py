"""What the statements that publish the rows of `tests.plans.plan` have in common."""

from __future__ import annotations

STAGING = "`my-project.production._staging_20250722T150000_0a1b2c3d`"
SELECT = f"SELECT s.`id` AS `id`, s.`name` AS `name`, s.`updated_at` AS `updated_at`\nFROM {STAGING} AS s"
USERS_TABLE = "`my-project.production.users`"
INSERT = f"INSERT INTO {USERS_TABLE} (`id`, `name`, `updated_at`)\n{SELECT}"
THREE_STAGED = (
    f'ASSERT (SELECT COUNT(*) FROM {STAGING}) = 3 AS "the staging table does not hold the 3 rows that were staged"'
)
KEYED = {"primary_key": "id"}


def newest(order: str, keys: str = "s.`id`") -> str:
    return f"\nWHERE TRUE\nQUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}TO_JSON_STRING(s) DESC) = 1"


BY_TIME = newest("s.`updated_at` DESC, ")
