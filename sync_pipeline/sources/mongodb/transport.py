"""The driver's settings for encryption, verification of the server, and login with a certificate.

https://www.mongodb.com/docs/manual/reference/connection-string-options/#tls-options
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.hosts import is_this_machine
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.connection_string import has_user, hosts, uri_options
from sync_pipeline.sources.pem_files import CERTIFICATE, KEY, pem_files

_CA, _CERTIFICATE_KEY = "mongodb_tls_ca", "mongodb_tls_certificate_key"
_OPTIONS = {_CA: "tlsCAFile", _CERTIFICATE_KEY: "tlsCertificateKeyFile"}


@contextlib.contextmanager
def tls_options(config: MongodbConfig) -> Iterator[dict[str, Any]]:
    """Yield the driver's TLS options. Deletes the files that they name at the end.

    The driver reads the files when a client is created.

    Raises:
        ConfigError: the TLS parameters contradict each other, or a secret cannot be read.
        SourceUnavailableError: Secret Manager does not answer.
    """
    wanted: dict[Secret, tuple[str, ...]] = {}
    if config.tls_ca is not None:
        wanted[Secret(_CA, config.tls_ca, may_be_file=True)] = (CERTIFICATE,)
    if config.tls_certificate_key is not None:
        wanted[config.tls_certificate_key] = (CERTIFICATE, KEY)
    if not (config.tls or wanted):
        yield {}
        return
    uri = resolved(config)
    if _off(uri_options(uri)):
        asked = "mongodb_tls" if config.tls else next(iter(wanted)).parameter
        raise ConfigError([f"{asked} requires TLS, but mongodb_connection_string disables it: remove tls=false"])
    with pem_files(wanted) as paths:
        options: dict[str, Any] = {"tls": True} | {_OPTIONS[parameter]: path for parameter, path in paths.items()}
        if logs_in_by_certificate(config, uri):
            options["authMechanism"] = "MONGODB-X509"
        yield options


def resolved(config: MongodbConfig) -> str:
    """Return the connection string, or an empty string. Raises ConfigError or SourceUnavailableError."""
    return config.connection_string.resolve() if config.connection_string else ""


def protection(config: MongodbConfig, uri: str) -> str:
    """Return a description of the connection's encryption, for the plan; `uri` is the connection string or empty."""
    options = uri_options(uri)
    if not encrypts(config, uri):
        return "not encrypted"
    login = ", login with the client certificate" if logs_in_by_certificate(config, uri) else ""
    if _on(options, "tlsinsecure", "tlsallowinvalidcertificates"):
        return f"TLS, the server is not verified{login}"
    if _on(options, "tlsallowinvalidhostnames"):
        return f"TLS, the server's certificate is verified, not its name{login}"
    return f"TLS, the server's certificate and name are verified{login}"


def transport_risks(config: MongodbConfig, uri: str) -> list[str]:
    """Return a warning if an attacker on the network could read or change the data in transit."""
    options = uri_options(uri)
    if all(is_this_machine(host) for host in (hosts(uri) if uri else [config.host or ""])):
        return []
    if not encrypts(config, uri):
        return [
            (
                "the connection to MongoDB is not encrypted: the rows can be read in transit; use mongodb_tls=true, or "
                "tls=true in mongodb_connection_string"
            )
        ]
    if _on(options, "tlsinsecure", "tlsallowinvalidcertificates"):
        return [
            (
                "mongodb_connection_string accepts any server certificate: an attacker who redirects the connection "
                "can read the rows; give the authority's certificate as mongodb_tls_ca instead"
            )
        ]
    return []


def encrypts(config: MongodbConfig, uri: str) -> bool:
    """Whether the connection is encrypted."""
    options = uri_options(uri)
    if config.tls or config.tls_ca is not None or config.tls_certificate_key is not None:
        return True
    if _off(options):
        return False
    # Each of these options enables TLS, and so does a mongodb+srv name.
    return uri.startswith("mongodb+srv://") or any(name == "ssl" or name.startswith("tls") for name in options)


def logs_in_by_certificate(config: MongodbConfig, uri: str) -> bool:
    """Whether the client certificate is the login: the connection has one and no other login."""
    if config.tls_certificate_key is None or config.username is not None:
        return False
    return not has_user(uri) and "authmechanism" not in uri_options(uri)


def _off(options: dict[str, str]) -> bool:
    return "false" in (options.get("tls", "").lower(), options.get("ssl", "").lower())


def _on(options: dict[str, str], *names: str) -> bool:
    return any(options.get(name, "").lower() == "true" for name in names)
