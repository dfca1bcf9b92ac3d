"""Hosts and managed instances: checks that a text names one server and carries no password."""

from __future__ import annotations

import ipaddress
import re

# Only at the start of the text, because a query may compare with such an address.
_ADDRESS = re.compile(r"\s*(?!gs://)[A-Za-z][A-Za-z0-9+.-]*://(\S*)")
_CLOUD_SQL = re.compile("([a-z0-9.-]+:)?[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]+")
_ALLOYDB = re.compile("projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/clusters/[a-z0-9-]+/instances/[a-z0-9-]+")
_NAME = re.compile(r"[^\W_]([\w.-]*\w)?\.?")


def holds_password(text: str) -> bool:
    """Whether `text` looks like an address with a user and a password, `scheme://user:password@host`."""
    address = _ADDRESS.match(text)
    return address is not None and _has_user(address.group(1))


def without_passwords(text: str) -> str:
    """Return `text` with `***` for each word that looks like `user:password@host`."""
    if "@" not in text:
        return text
    return "".join("***" if _has_user(word) else word for word in re.split(r"(\s+)", text))


def _has_user(address: str) -> bool:
    # Not a regular expression, because several repetitions would backtrack for ever on a long word.
    user, _, _ = address.rpartition("@")
    return ":" in user


def parse_host(text: str, port: str, *, has_sockets: bool, several: str) -> str:
    """Return the host in `text`, with an IPv6 address without brackets.

    Args:
        port: the parameter for the port.
        has_sockets: whether an absolute path is allowed, as the folder of a Unix socket.
        several: the remedy if the text names several servers.

    Raises:
        ValueError: the text is not a host. The message does not quote it, because it may contain a password.
    """
    text = text.strip()
    if "@" in text or "://" in text:
        raise ValueError(
            "it must be only a host name or an address; use the separate parameters for user, password, port and "
            "database"
        )
    if "," in text or re.search(r"\s", text):
        raise ValueError(f"it must name one server; {several}")
    if has_sockets and re.fullmatch(r"/[\w.:/-]+", text):
        return text
    if "/" in text:
        raise ValueError("it must be only a host name or an address, without a database or a path")
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if ":" in text:
        raise ValueError(f"it must be only a host name or an address; give the port as {port}")
    if not _NAME.fullmatch(text) or len(text) > 253:
        raise ValueError("a host name has letters, digits, dashes and points")
    return text


def is_this_machine(host: str) -> bool:
    """Whether `host` is on this machine: a loopback address, or a Unix socket."""
    if host.startswith("/") or host.lower().rstrip(".") == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def is_address(host: str) -> bool:
    """Whether `host` is an address instead of a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_instance(name: str) -> str | None:
    """Return the problem with the name of a managed instance, worded to follow the name, or None."""
    if _CLOUD_SQL.fullmatch(name) or is_alloydb(name):
        return None
    return "use PROJECT:REGION:INSTANCE, or for AlloyDB projects/P/locations/L/clusters/C/instances/I"


def is_alloydb(instance: str) -> bool:
    """Whether the name of a managed instance belongs to AlloyDB; otherwise it belongs to Cloud SQL."""
    return _ALLOYDB.fullmatch(instance) is not None
