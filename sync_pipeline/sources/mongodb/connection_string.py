"""Checks of the connection string that need no network, and the quoting of the driver's messages about it.

A message that may quote part of the password is withheld completely. Replacing the password in the message would reveal
a short or common one by what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

import pymongo.errors
from pymongo.uri_parser import parse_uri

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb.config import MongodbConfig

_USER_INFO = re.compile(r"(mongodb(?:\+srv)?://)\S*@")
_ESCAPE = "write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for % in user and password"
_WITHHELD = (
    "the driver's message is withheld, because it may quote part of the password; write "
    f"mongodb://USER:PASSWORD@HOST:PORT/?OPTION=VALUE, and {_ESCAPE}"
)


def check_connection_string(secret: Secret) -> list[str]:
    """Return the problems of a connection string that can be found without a network."""
    if not secret.is_plain:
        return []
    uri = secret.resolve()
    try:
        check_uri(uri)
        if uri.startswith("mongodb+srv://"):
            # Further checks need DNS.
            return []
        parse_uri(uri, validate=True, warn=False)
    except ConfigError as error:
        return list(error.problems)
    except (pymongo.errors.PyMongoError, ValueError, TypeError, OSError) as error:
        return [refusal(error, uri)]
    return []


def check_uri(uri: str) -> None:
    """Check the escaping. Raises ConfigError when part of the password would be read as a host, port or database."""
    _, _, rest = uri.partition("://")
    authority, separator, tail = _split(rest)
    # An @ in the options is legitimate only if a user name precedes them.
    path = tail.partition("?")[0] if separator == "/" else ""
    if "@" in path or ("@" in tail and "@" not in authority):
        raise ConfigError([f"mongodb_connection_string cannot be used: {_ESCAPE}"])


def address_risks(config: MongodbConfig, uri: str) -> list[str]:
    """Return a warning if `mongodb_host` is not among the servers of the connection string."""
    if not uri or config.host is None or config.host.lower() in hosts(uri):
        return []
    return [f"mongodb_host is {config.host}, which is not in mongodb_connection_string: the latter takes precedence"]


def hosts(uri: str) -> list[str]:
    """Return the servers of a valid connection string, in lower case and without ports."""
    servers = _split(uri.partition("://")[2])[0].rpartition("@")[2].split(",")
    return [urlsplit(f"//{server}").hostname or "" for server in servers]


def has_user(uri: str) -> bool:
    """Whether a connection string names a user."""
    return "@" in _split(uri.partition("://")[2])[0]


def uri_options(uri: str) -> dict[str, str]:
    """Return the options of a connection string, by their names in lower case."""
    pairs = (item.partition("=") for item in re.split("[&;]", uri.partition("?")[2]) if item)
    return {name.lower(): unquote_plus(value) for name, _, value in pairs}


def refusal(error: Exception, uri: str) -> str:
    """Return the driver's message about `uri`, or a note that it is withheld."""
    text = without_credentials(" ".join(str(error).split()))
    reason = _WITHHELD if any(piece in text for piece in _secret_pieces(uri)) else text
    return f"mongodb_connection_string cannot be used: {reason}"


def without_credentials(text: str) -> str:
    """Return `text` without the user and password of any connection string that it quotes."""
    return _USER_INFO.sub(r"\1***@", text)


def _split(rest: str) -> tuple[str, str, str]:
    authority, separator, tail = re.fullmatch("([^/?]*)([/?]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    return authority, separator, tail


def _secret_pieces(uri: str) -> Iterator[str]:
    # All pieces up to the last @: the driver may quote an unescaped part of the password as something else.
    match = re.match(r"[^:]+://[^:]*:(.*)@", uri, re.DOTALL)
    given = [match.group(1)] if match else []
    given += re.findall("(?i)(?:password|authmechanismproperties)=([^&;]*)", uri)
    for text in given:
        for piece in (text, *re.split("[:/?#@&=,]", text)):
            yield from {form for form in (piece, unquote(piece), unquote_plus(piece)) if form}
