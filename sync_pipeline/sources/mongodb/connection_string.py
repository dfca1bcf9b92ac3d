"""The connection string: what can be told of it without a network, and how the driver's words about it are quoted.

A password is never searched for in a text and replaced: one that is short, or a common word, would be shown by what is
replaced. So a text that may quote a piece of it is withheld as a whole.
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
    "the driver's words are withheld, as they may quote a piece of the password; write "
    f"mongodb://USER:PASSWORD@HOST:PORT/?OPTION=VALUE, and {_ESCAPE}"
)


def check_connection_string(secret: Secret) -> list[str]:
    """Return what is wrong with a connection string, as far as it can be told without a network."""
    if not secret.is_plain:
        return []
    uri = secret.resolve()
    try:
        check_uri(uri)
        if uri.startswith("mongodb+srv://"):
            # The rest needs a name server.
            return []
        parse_uri(uri, validate=True, warn=False)
    except ConfigError as error:
        return list(error.problems)
    except (pymongo.errors.PyMongoError, ValueError, TypeError, OSError) as error:
        return [refusal(error, uri)]
    return []


def check_uri(uri: str) -> None:
    """Raise ConfigError where a piece of the password would be taken for a host, a port or a database."""
    _, _, rest = uri.partition("://")
    authority, separator, tail = _split(rest)
    # In options an @ may be meant, unless nothing before them has been a user's name.
    path = tail.partition("?")[0] if separator == "/" else ""
    if "@" in path or ("@" in tail and "@" not in authority):
        raise ConfigError([f"mongodb_connection_string cannot be used: {_ESCAPE}"])


def address_risks(config: MongodbConfig, uri: str) -> list[str]:
    """Return a sentence for the plan where `mongodb_host` is none of the servers in the connection string."""
    if not uri or config.host is None or config.host.lower() in hosts(uri):
        return []
    return [
        f"mongodb_host is {config.host}, which mongodb_connection_string does not name: the connection string counts"
    ]


def hosts(uri: str) -> list[str]:
    """Return the servers of a connection string that can be used, in lower case and without their ports."""
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
    """Return what the driver says about `uri`, or that its words are withheld."""
    text = without_credentials(" ".join(str(error).split()))
    reason = _WITHHELD if any(piece in text for piece in _secret_pieces(uri)) else text
    return f"mongodb_connection_string cannot be used: {reason}"


def without_credentials(text: str) -> str:
    """Return `text` without the user and the password of a connection string that it quotes."""
    return _USER_INFO.sub(r"\1***@", text)


def _split(rest: str) -> tuple[str, str, str]:
    authority, separator, tail = re.fullmatch("([^/?]*)([/?]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    return authority, separator, tail


def _secret_pieces(uri: str) -> Iterator[str]:
    # To the last @, and in every piece: what is not escaped may be quoted as if it were no part of the password.
    match = re.match(r"[^:]+://[^:]*:(.*)@", uri, re.DOTALL)
    given = [match.group(1)] if match else []
    given += re.findall("(?i)(?:password|authmechanismproperties)=([^&;]*)", uri)
    for text in given:
        for piece in (text, *re.split("[:/?#@&=,]", text)):
            yield from {form for form in (piece, unquote(piece), unquote_plus(piece)) if form}
