from __future__ import annotations

import pytest

from tests.parameter_sets import POSTGRESQL, SMART_SYNC, problems


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        *(
            pytest.param(
                {key: value for key, value in POSTGRESQL.items() if key != name},
                f"{name} is missing: it is required when data_source is postgresql{alternatives}",
                id=name,
            )
            for name, alternatives in (
                ("postgresql_host", " (or postgresql_instance instead)"),
                ("postgresql_database", ""),
                ("postgresql_username", ""),
                (
                    "postgresql_password",
                    " (or postgresql_iam_login or postgresql_sslcert instead)",
                ),
            )
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_query": "  "},
            "postgresql_query is missing: it is required when data_source is postgresql and enable_smart_sync is false "
            "(or postgresql_table or tables_file instead)",
            id="query without Smart Sync",
        ),
        pytest.param(
            SMART_SYNC | {"enable_smart_sync": "false"},
            "postgresql_query is missing: it is required when data_source is postgresql and enable_smart_sync is false "
            "(or postgresql_table or tables_file instead)",
            id="base query alone without Smart Sync",
        ),
        pytest.param(
            SMART_SYNC | {"postgresql_base_query": ""},
            "postgresql_query is missing: it is required when data_source is postgresql and enable_smart_sync is true "
            "(or postgresql_base_query or postgresql_table or tables_file instead)",
            id="both queries with Smart Sync",
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_sslmode": "verify-ca"},
            "postgresql_sslrootcert is missing: it is required when data_source is postgresql and postgresql_sslmode "
            "is verify-ca or verify-full",
            id="root certificate",
        ),
    ],
)
def test_missing(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]


def test_base_query_lacks_both_placeholders() -> None:
    given = SMART_SYNC | {"postgresql_base_query": "SELECT * FROM users WHERE tags = '{a,b}' AND x ~ 'a{2}'"}
    assert problems(given) == [
        "postgresql_base_query lacks {start_timestamp}: Smart Sync needs both bounds of the interval",
        "postgresql_base_query lacks {end_timestamp}: Smart Sync needs both bounds of the interval",
    ]
