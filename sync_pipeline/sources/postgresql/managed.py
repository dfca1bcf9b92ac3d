"""Looks up Cloud SQL and AlloyDB instances by name, and logs in with IAM database authentication.

The Admin API returns an instance's addresses and, for Cloud SQL, the certificate of the authority that signed the
server's. libpq then connects to the address directly, because Google's connectors do not support psycopg2:
https://github.com/GoogleCloudPlatform/cloud-sql-python-connector/issues/214
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import google.auth
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import AuthorizedSession, Request
from requests.exceptions import RequestException

from sync_pipeline.errors import ConfigError, SourceUnavailableError
from sync_pipeline.parameters.hosts import is_alloydb

PARAMETER, LOGIN = "postgresql_instance", "postgresql_iam_login"
CLOUD_SQL_API = "https://sqladmin.googleapis.com"
ALLOYDB_API = "https://alloydb.googleapis.com"
# Scopes with which a token opens databases and gives no access to other Google services.
_CLOUD_SQL_LOGIN = "https://www.googleapis.com/auth/sqlservice.login"
_ALLOYDB_LOGIN = "https://www.googleapis.com/auth/alloydb.login"
_CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT_SECONDS = 30

_REMEDIES = {
    401: "run the job with a service account, or with application default credentials",
    403: "grant {role} to the job's service account, and enable {api}",
    404: "the instance does not exist: check project, region and name",
}


@dataclass(frozen=True)
class Instance:
    """The address of an instance and how to verify its certificate.

    Attributes:
        address: the private address if the instance has one.
        certificate: certificate of the authority that signed the server's, as PEM; None if the API does not return it.
        name: the name in the server's certificate; None if the authority signs only this instance, which then proves
            its identity.
    """

    address: str
    certificate: str | None = None
    name: str | None = None


@functools.cache
def find_instance(instance: str) -> Instance:
    """Look up an instance, once per process.

    Raises:
        ConfigError: the instance does not exist, or the caller may not look it up.
        SourceUnavailableError: the API could not be reached, or failed.
    """
    if is_alloydb(instance):
        url = f"{ALLOYDB_API}/v1/{instance}/connectionInfo"
        found = _get(url, instance, "roles/alloydb.client", "alloydb.googleapis.com")
        return _address(instance, [found.get("ipAddress"), found.get("publicIpAddress")])
    # The id of a domain-scoped project contains a colon itself.
    project, region, name = instance.rsplit(":", 2)
    url = f"{CLOUD_SQL_API}/v1/projects/{project}/instances/{name}/connectSettings"
    found = _get(url, instance, "roles/cloudsql.client", "sqladmin.googleapis.com")
    return _cloud_sql(instance, region, found)


def login_token(instance: str | None) -> str:
    """Return a fresh token for the login of a connection.

    Raises:
        ConfigError: credentials are missing, or may not obtain such a token.
        SourceUnavailableError: Google's token service could not be reached.
    """
    try:
        scope = _ALLOYDB_LOGIN if instance is not None and is_alloydb(instance) else _CLOUD_SQL_LOGIN
        credentials, _ = google.auth.default(scopes=[scope])
        credentials.refresh(Request())
    except TransportError as error:
        raise SourceUnavailableError(
            f"{LOGIN}: Google's token service could not be reached ({type(error).__name__})"
        ) from None
    except GoogleAuthError as error:
        raise ConfigError([f"{LOGIN}: no token was issued ({type(error).__name__}): {_REMEDIES[401]}"]) from None
    return str(credentials.token)


def database_user(username: str) -> str:
    """Return the database user of an identity: for a service account, its address without .gserviceaccount.com."""
    return username.removesuffix(".gserviceaccount.com")


def _cloud_sql(instance: str, region: str, found: Mapping[str, Any]) -> Instance:
    version, actual = found.get("databaseVersion", ""), found.get("region", "")
    if not version.startswith("POSTGRES"):
        raise ConfigError([f"{PARAMETER} is {instance}, which is not PostgreSQL but {version or 'unknown'}"])
    if actual != region:
        raise ConfigError([f"{PARAMETER} is {instance}, but the instance is in {actual}: use that region"])
    addresses = {each.get("type"): each.get("ipAddress") for each in found.get("ipAddresses", [])}
    names = {
        each.get("connectionType"): str(each.get("name", "")).rstrip(".")
        for each in found.get("dnsNames", [])
        if each.get("dnsScope") == "INSTANCE"
    }
    by_endpoint = names.get("PRIVATE_SERVICE_CONNECT") if found.get("pscEnabled") else None
    where = _address(instance, [addresses.get("PRIVATE"), by_endpoint, addresses.get("PRIMARY")])
    certificate = found.get("serverCaCert", {}).get("cert")
    if not certificate:
        raise ConfigError([f"{PARAMETER} is {instance}, whose certificate is not in the API: use postgresql_host"])
    name = None
    if found.get("serverCaMode") in ("GOOGLE_MANAGED_CAS_CA", "CUSTOMER_MANAGED_CAS_CA"):
        # This authority signs certificates of other instances too, so only the name identifies the instance.
        name = by_endpoint or str(found.get("dnsName", "")).rstrip(".")
        if not name:
            raise ConfigError([f"{PARAMETER} is {instance}, which has no DNS name to verify: use postgresql_host"])
    return Instance(where.address, certificate, name)


def _address(instance: str, addresses: list[str | None]) -> Instance:
    address = next(filter(None, addresses), None)
    if address is None:
        raise ConfigError([f"{PARAMETER} is {instance}, which has no address: give it a private one"])
    return Instance(address)


def _get(url: str, instance: str, role: str, api: str) -> Mapping[str, Any]:
    try:
        credentials, _ = google.auth.default(scopes=[_CLOUD_PLATFORM])
        with AuthorizedSession(credentials) as session:
            response = session.get(url, timeout=_TIMEOUT_SECONDS)
        if response.ok:
            content: Mapping[str, Any] = response.json()
            return content
    except (TransportError, RequestException) as error:
        kind = type(error).__name__
        raise SourceUnavailableError(f"{PARAMETER}: {api} could not be reached for {instance} ({kind})") from None
    except GoogleAuthError as error:
        kind = type(error).__name__
        raise ConfigError([f"{PARAMETER}: {instance} cannot be looked up ({kind}): {_REMEDIES[401]}"]) from None
    status = response.status_code
    if status in _REMEDIES:
        remedy = _REMEDIES[status].format(role=role, api=api)
        raise ConfigError([f"{PARAMETER}: {instance} cannot be looked up (HTTP {status}): {remedy}"])
    raise SourceUnavailableError(f"{PARAMETER}: {api} failed for {instance} (HTTP {status})")
