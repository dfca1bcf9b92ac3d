"""Hosts and managed instances: the name or address of one server, and nothing that may carry a password."""

from __future__ import annotations

import ipaddress
import re

# At the start only: a query may well compare with such an address.
_ADDRESS = re.compile(r"\s*(?!gs://)[A-Za-z][A-Za-z0-9+.-]*://(\S*)")
_CLOUD_SQL = re.compile("([a-z0-9.-]+:)?[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]+")
_ALLOYDB = re.compile("projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/clusters/[a-z0-9-]+/instances/[a-z0-9-]+")
_NAME = re.compile(r"[^\W_]([\w.-]*\w)?\.?")


def holds_password(text: str) -> bool:
    """Whether `text` looks like an address with a user and a password, `scheme://user:password@host`."""
    address = _ADDRESS.match(text)
    return address is not None and _has_user(address.group(1))


def without_passwords(text: str) -> str:
    """Return `text` with `***` for each word that looks like `user:password@host`, whatever stands around."""
    if "@" not in text:
        return text
    return "".join("***" if _has_user(word) else word for word in re.split(r"(\s+)", text))


def _has_user(address: str) -> bool:
    # No pattern: with several repetitions it would take for ever over a long word.
    user, _, _ = address.rpartition("@")
    return ":" in user


def parse_host(text: str, port: str, *, has_sockets: bool, several: str) -> str:
    """Return the host that `text` names; an IPv6 address comes back without brackets.

    Args:
        port: the parameter that a port belongs to.
        has_sockets: an absolute path is the folder of a Unix socket.
        several: what to do where more than one server is meant.

    Raises:
        ValueError: saying what is wrong without quoting `text`, which may hold a password.
    """
    text = text.strip()
    if "@" in text or "://" in text:
        raise ValueError(
            "it must be a host name or an address alone; user, password, port and database have parameters of their own"
        )
    if "," in text or re.search(r"\s", text):
        raise ValueError(f"it must name one server; {several}")
    if has_sockets and re.fullmatch(r"/[\w.:/-]+", text):
        return text
    if "/" in text:
        raise ValueError("it must be a host name or an address alone, without a database or a path")
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if ":" in text:
        raise ValueError(f"it must be a host name or an address alone; give the port as {port}")
    if not _NAME.fullmatch(text) or len(text) > 253:
        raise ValueError("a host name has letters, digits, dashes and points")
    return text


def is_this_machine(host: str) -> bool:
    """Whether what is sent to `host` does not leave the machine: a loopback address, or a Unix socket."""
    if host.startswith("/") or host.lower().rstrip(".") == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def is_address(host: str) -> bool:
    """Whether `host` is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_instance(name: str) -> str | None:
    """Return what is wrong with the name of a managed instance, worded to follow it, or None."""
    if _CLOUD_SQL.fullmatch(name) or is_alloydb(name):
        return None
    return "write PROJECT:REGION:INSTANCE, or of AlloyDB projects/P/locations/L/clusters/C/instances/I"


def is_alloydb(instance: str) -> bool:
    """Whether the name of a managed instance is one of AlloyDB; else it is one of Cloud SQL."""
    return _ALLOYDB.fullmatch(instance) is not None
