"""Instances of Cloud SQL and AlloyDB are found by Google's APIs, as their discovery documents describe these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from sync_pipeline.errors import ConfigError, SourceUnavailableError, SyncError
from sync_pipeline.sources.postgresql import managed
from sync_pipeline.sources.postgresql.managed import Instance, database_user, find_instance, login_token
from tests.admin_api import AdminApi, admin_api

NAME = "my-project:us-central1:shop"
ALLOYDB = "projects/my-project/locations/us-central1/clusters/c/instances/shop"
PATH = "/v1/projects/my-project/instances/shop/connectSettings"
PRIVATE, PUBLIC = {"type": "PRIVATE", "ipAddress": "10.0.0.5"}, {"type": "PRIMARY", "ipAddress": "34.1.2.3"}
SETTINGS: dict[str, Any] = {
    "kind": "sql#connectSettings",
    "databaseVersion": "POSTGRES_17",
    "region": "us-central1",
    "serverCaCert": {"cert": "-----BEGIN CERTIFICATE-----"},
    "serverCaMode": "GOOGLE_MANAGED_INTERNAL_CA",
    "ipAddresses": [PUBLIC, PRIVATE],
}
ENDPOINT = {
    "name": "abc.us-central1.sql-psc.goog.",
    "connectionType": "PRIVATE_SERVICE_CONNECT",
    "dnsScope": "INSTANCE",
}
CERTIFICATE = "-----BEGIN CERTIFICATE-----"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminApi]:
    with admin_api(monkeypatch) as api:
        yield api


@pytest.mark.parametrize(
    ("changes", "instance"),
    [
        pytest.param({}, Instance("10.0.0.5", CERTIFICATE), id="private address"),
        pytest.param({"ipAddresses": [PUBLIC]}, Instance("34.1.2.3", CERTIFICATE), id="public address"),
        pytest.param(
            {"ipAddresses": [], "pscEnabled": True, "dnsNames": [ENDPOINT]},
            Instance("abc.us-central1.sql-psc.goog", CERTIFICATE),
            id="private service connect",
        ),
        pytest.param(
            {"serverCaMode": "GOOGLE_MANAGED_CAS_CA", "dnsName": "abc.us-central1.sql.goog."},
            Instance("10.0.0.5", CERTIFICATE, "abc.us-central1.sql.goog"),
            id="authority of a region",
        ),
    ],
)
def test_cloud_sql(api: AdminApi, changes: dict[str, Any], instance: Instance) -> None:
    api.cloud_sql("my-project", "shop", SETTINGS | changes)
    assert find_instance(NAME) == instance
    find_instance(NAME)
    assert api.asked == [PATH]


def test_project_with_a_domain(api: AdminApi) -> None:
    api.cloud_sql("example.com:my-project", "shop", SETTINGS)
    assert find_instance(f"example.com:{NAME}").address == "10.0.0.5"


def test_alloydb(api: AdminApi) -> None:
    api.alloydb(ALLOYDB, {"ipAddress": "10.0.0.6", "publicIpAddress": "34.1.2.4"})
    assert find_instance(ALLOYDB) == Instance("10.0.0.6")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"databaseVersion": "MYSQL_8_4"}, "which is not PostgreSQL but MYSQL_8_4", id="MySQL"),
        pytest.param({"region": "europe-west3"}, "but the instance is in europe-west3: use that region", id="region"),
        pytest.param({"ipAddresses": []}, "which has no address: give it a private one", id="address"),
        pytest.param(
            {"serverCaCert": {}}, "whose certificate is not in the API: use postgresql_host", id="certificate"
        ),
        pytest.param(
            {"serverCaMode": "GOOGLE_MANAGED_CAS_CA"}, "which has no DNS name to verify: use postgresql_host", id="name"
        ),
    ],
)
def test_instances_that_cannot_be_used(api: AdminApi, changes: dict[str, Any], problem: str) -> None:
    api.cloud_sql("my-project", "shop", SETTINGS | changes)
    with pytest.raises(ConfigError) as caught:
        find_instance(NAME)
    assert caught.value.problems == (f"postgresql_instance is {NAME}, {problem}",)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (
            403,
            ConfigError,
            (
                f"{NAME} cannot be looked up (HTTP 403): grant roles/cloudsql.client to the job's service account, and "
                "enable sqladmin.googleapis.com"
            ),
        ),
        (
            404,
            ConfigError,
            f"{NAME} cannot be looked up (HTTP 404): the instance does not exist: check project, region and name",
        ),
        (503, SourceUnavailableError, f"sqladmin.googleapis.com failed for {NAME} (HTTP 503)"),
        (429, SourceUnavailableError, f"sqladmin.googleapis.com failed for {NAME} (HTTP 429)"),
    ],
)
def test_refusals(api: AdminApi, status: int, kind: type[SyncError], message: str) -> None:
    api.answers[PATH] = status
    with pytest.raises(SyncError) as caught:
        find_instance(NAME)
    assert (type(caught.value), str(caught.value)) == (kind, f"postgresql_instance: {message}")
    # An error is not kept: another attempt asks again.
    api.cloud_sql("my-project", "shop", SETTINGS)
    assert find_instance(NAME).address == "10.0.0.5"


def test_api_is_out_of_reach(api: AdminApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "CLOUD_SQL_API", "http://127.0.0.1:1")
    with pytest.raises(SourceUnavailableError, match="could not be reached for my-project:us-central1:shop"):
        find_instance(NAME)


def test_token_is_for_logins_only(api: AdminApi) -> None:
    assert login_token(None) == login_token(NAME) == login_token(ALLOYDB) == "login"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DefaultCredentialsError("none"), ConfigError),
        (RefreshError("scope"), ConfigError),
        (TransportError("metadata server"), SourceUnavailableError),
    ],
)
def test_no_token(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[SyncError]) -> None:
    def default(scopes: list[str]) -> None:
        raise error

    monkeypatch.setattr(google.auth, "default", default)
    for ask in (lambda: login_token(None), lambda: find_instance(NAME)):
        with pytest.raises(SyncError) as caught:
            ask()
        assert type(caught.value) is kind


def test_user_of_a_service_account() -> None:
    assert database_user("sync@my-project.iam.gserviceaccount.com") == "sync@my-project.iam"
    assert database_user("ann@example.com") == "ann@example.com"
