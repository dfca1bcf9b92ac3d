"""libpq's settings for encryption, verification of the server, and login.

https://www.postgresql.org/docs/current/libpq-ssl.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from psycopg2.extensions import connection as Connection

from sync_pipeline.parameters.hosts import is_address, is_alloydb, is_this_machine
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.pem_files import CERTIFICATE, KEY, pem_files
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.managed import database_user, find_instance, login_token

# libpq's keyword for the authorities that OpenSSL trusts; not a file name.
_SYSTEM = "system"
_VERIFIED = {
    "verify-full": "the server's certificate and name are verified",
    "verify-ca": "the server's certificate is verified, not its name",
}


@contextlib.contextmanager
def login(config: PostgresqlConfig) -> Iterator[dict[str, str]]:
    """Yield libpq's settings for host, encryption and login. Deletes the files that they name at the end.

    Raises:
        ConfigError: a secret cannot be read, or the instance cannot be looked up.
        SourceUnavailableError: Secret Manager or the instance's API does not answer.
    """
    settings = {"host": config.host or "", "user": config.username, "sslmode": config.sslmode}
    wanted: dict[Secret, tuple[str, ...]] = {}
    if config.instance is not None:
        instance = find_instance(config.instance)
        settings["host"] = instance.address
        if instance.certificate is not None:
            settings["sslmode"] = "verify-ca"
            wanted[Secret("postgresql_sslrootcert", instance.certificate)] = (CERTIFICATE,)
        if instance.name is not None:
            settings |= {"host": instance.name, "sslmode": "verify-full"}
            if is_address(instance.address):
                settings["hostaddr"] = instance.address
    if config.iam_login:
        settings |= {"user": database_user(config.username), "password": login_token(config.instance)}
    if config.password is not None:
        settings["password"] = config.password.resolve()
    if config.require_auth is not None:
        settings["require_auth"] = config.require_auth
    if config.sslrootcert is not None:
        if config.sslrootcert == _SYSTEM or not _is_elsewhere(config.sslrootcert):
            settings["sslrootcert"] = config.sslrootcert
        else:
            wanted[Secret("postgresql_sslrootcert", config.sslrootcert, may_be_file=True)] = (CERTIFICATE,)
    if config.sslcert is not None:
        wanted[Secret("postgresql_sslcert", config.sslcert, may_be_file=True)] = (CERTIFICATE,)
    if config.sslkey is not None:
        wanted[config.sslkey] = (KEY,)
    with pem_files(wanted) as paths:
        yield settings | {parameter.removeprefix("postgresql_"): path for parameter, path in paths.items()}


def protection(config: PostgresqlConfig, connection: Connection) -> str:
    """Return a description of the connection's encryption and verification, for the plan."""
    if (config.host or "").startswith("/"):
        return "a Unix socket of this machine"
    if not connection.info.ssl_in_use:
        return "not encrypted"
    protocol = connection.info.ssl_attribute("protocol")
    return f"{protocol}, {_VERIFIED.get(_effective_mode(config), 'the server is not verified')}"


def transport_risks(config: PostgresqlConfig, connection: Connection) -> list[str]:
    """Return a warning if an attacker on the network could read or change the data in transit."""
    mode = _effective_mode(config)
    if mode in _VERIFIED or is_this_machine(config.host or ""):
        return []
    danger = (
        "an attacker who redirects the connection can read the rows and the login"
        if connection.info.ssl_in_use
        else "the rows and the login can be read in transit"
    )
    protects = protection(config, connection)
    return [
        (
            f"postgresql_sslmode is {config.sslmode}, and the connection is {protects}: {danger}; use verify-full, or "
            "verify-ca, with postgresql_sslrootcert"
        )
    ]


def _is_elsewhere(location: str) -> bool:
    return location.startswith("gs://") or not Secret("postgresql_password", location).is_plain


def _effective_mode(config: PostgresqlConfig) -> str:
    if config.instance is not None and not is_alloydb(config.instance):
        return "verify-full" if find_instance(config.instance).name is not None else "verify-ca"
    # libpq does the same, for compatibility with programs that are older than sslmode.
    return "verify-ca" if config.sslmode == "require" and config.sslrootcert is not None else config.sslmode
