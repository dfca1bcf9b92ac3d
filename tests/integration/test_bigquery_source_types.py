"""Every type of BigQuery by both ways: the same values, names, modes, descriptions, parameters and policy tags."""

from __future__ import annotations

import pytest
from google.cloud import bigquery
from google.cloud.bigquery import PolicyTagList
from google.cloud.bigquery import SchemaField as field  # noqa: N813 - it is written forty times

from tests.integration.bigquery_syncing import WAYS, BigquerySyncing

POLICY = "projects/p/locations/us/taxonomies/1/policyTags/2"

# As the REST API answers.
COLUMNS = [
    field("id", "INTEGER", "REQUIRED", description="the number"),
    *(field(name, type_name) for name, type_name in (("flag", "BOOLEAN"), ("whole", "INTEGER"), ("real", "FLOAT"))),
    field("exact", "NUMERIC"),
    field("short", "NUMERIC", precision=10, scale=2),
    field("wide", "BIGNUMERIC"),
    field("wider", "BIGNUMERIC", precision=48, scale=10),
    field("text", "STRING", policy_tags=PolicyTagList([POLICY])),
    field("code", "STRING", max_length=20),
    field("raw", "BYTES"),
    field("digest", "BYTES", max_length=4),
    *(field(name, name.upper()) for name in ("date", "time", "datetime", "timestamp", "json", "geography", "interval")),
    *(field(f"{bound}s", "RANGE", range_element_type=bound.upper()) for bound in ("date", "datetime", "timestamp")),
    field("tags", "STRING", "REPEATED"),
    field("amounts", "NUMERIC", "REPEATED"),
    field("documents", "JSON", "REPEATED"),
    field("spans", "RANGE", "REPEATED", range_element_type="DATE"),
    field(
        "person",
        "RECORD",
        fields=[
            field("name", "STRING", description="a nested description", policy_tags=PolicyTagList([POLICY])),
            field(
                "address",
                "RECORD",
                fields=[
                    field("street", "STRING"),
                    field("place", "GEOGRAPHY"),
                    field("document", "JSON"),
                    field("since", "RANGE", range_element_type="DATE"),
                    field("pause", "INTERVAL"),
                ],
            ),
            field(
                "phones",
                "RECORD",
                "REPEATED",
                fields=[
                    field("kind", "STRING", "REQUIRED"),
                    field("number", "NUMERIC", precision=20, scale=0),
                    field("document", "JSON"),
                ],
            ),
        ],
    ),
]

FULL = r"""
    1, TRUE, 9223372036854775807, 1.5,
    NUMERIC '12345678901234567890123456789.123456789', NUMERIC '12345678.25', BIGNUMERIC '1.5', BIGNUMERIC '2.5',
    'Zürich "東京"\n', 'code', b'\x00\xff', b'\x01',
    DATE '9999-12-31', TIME '23:59:59.999999', DATETIME '0001-01-01 00:00:00',
    TIMESTAMP '2024-02-29 12:00:00.000001+00',
    JSON '{"a":[1,null,"x"],"b":{"c":1.5}}', ST_GEOGPOINT(8.5, 47.25), INTERVAL '1-2 3 4:5:6' YEAR TO SECOND,
    RANGE(DATE '2020-01-01', DATE '2020-02-01'), RANGE(NULL, DATETIME '2020-01-01 00:00:00'),
    RANGE(TIMESTAMP '2020-01-01 00:00:00+00', NULL),
    ['b', '', 'a'], [NUMERIC '1.5', NUMERIC '-2'], [JSON '{"z":1}', JSON '[]'],
    [RANGE(DATE '2021-01-01', NULL), RANGE(DATE '2020-01-01', DATE '2020-01-02')],
    STRUCT('Ada' AS name,
      STRUCT('Main St' AS street, ST_GEOGPOINT(1, 2) AS place, JSON '{"k":"v"}' AS document,
        RANGE(DATE '2020-01-01', NULL) AS since, INTERVAL 90 SECOND AS pause) AS address,
      [STRUCT('home' AS kind, NUMERIC '12345678901234567890' AS number, JSON '1' AS document),
       STRUCT('work' AS kind, NUMERIC '2' AS number, JSON '"x"' AS document)] AS phones)
"""


@pytest.fixture(params=WAYS)
def syncing(request: pytest.FixtureRequest, bigquery_syncing: BigquerySyncing) -> BigquerySyncing:
    return bigquery_syncing.by(request.param)


@pytest.fixture
def items(syncing: BigquerySyncing) -> BigquerySyncing:
    syncing.client.create_table(bigquery.Table(f"{syncing.endpoints.project}.{syncing.source}.items", schema=COLUMNS))
    syncing.at_source(f"INSERT INTO items VALUES ({FULL})")
    syncing.at_source("INSERT INTO items (id) VALUES (2)")
    return syncing


def test_all_values_and_the_schema(items: BigquerySyncing) -> None:
    run = items.run().succeeded()
    assert items.query("SELECT * FROM items ORDER BY id") == items.at_source("SELECT * FROM items ORDER BY id")
    assert len(items.query("SELECT * FROM items")) == 2
    assert run.rows_loaded == 2
    assert items.table().schema == items.source_table().schema
    assert items.left_over() == []


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"write_disposition": "WRITE_TRUNCATE"}, id="truncate"),
        pytest.param({"primary_key": "id"}, id="merge"),
    ],
)
def test_all_values_again(items: BigquerySyncing, parameters: dict[str, str]) -> None:
    items.run(**parameters).succeeded()
    items.run(**parameters).succeeded()
    assert items.query("SELECT * FROM items ORDER BY id") == items.at_source("SELECT * FROM items ORDER BY id")
