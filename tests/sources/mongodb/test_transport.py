"""What the plan says about the connection to MongoDB, by parameters and connection string."""

from __future__ import annotations

import dataclasses

import pytest

from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb.config import MongodbConfig
from sync_pipeline.sources.mongodb.transport import protection, transport_risks

HOST = MongodbConfig("db.example.com", 27017, "d", "c", "u", Secret("mongodb_password", "p"), None, None, None)
VERIFIED = "TLS, the server's certificate and name are verified"
ANY = "TLS, the server is not verified"


@pytest.mark.parametrize(
    ("uri", "changes", "said", "is_risky"),
    [
        pytest.param("", {}, "not encrypted", True, id="host"),
        pytest.param("", {"host": "127.0.0.1"}, "not encrypted", False, id="this machine"),
        pytest.param("", {"tls": True}, VERIFIED, False, id="host with TLS"),
        pytest.param("", {"tls_ca": "gs://b/ca.pem"}, VERIFIED, False, id="host with an authority"),
        pytest.param("mongodb://h/", {}, "not encrypted", True, id="URI"),
        pytest.param("mongodb://localhost,h/", {}, "not encrypted", True, id="one elsewhere"),
        pytest.param("mongodb://localhost,[::1]:1/", {}, "not encrypted", False, id="all here"),
        pytest.param("mongodb://h/?tls=true", {}, VERIFIED, False, id="tls"),
        pytest.param("mongodb://h/?ssl=true&w=1", {}, VERIFIED, False, id="ssl"),
        pytest.param("mongodb://h/", {"tls": True}, VERIFIED, False, id="URI and parameter"),
        pytest.param("mongodb://h/?tlsCAFile=/ca.pem", {}, VERIFIED, False, id="CA in the URI"),
        pytest.param("mongodb+srv://h/", {}, VERIFIED, False, id="cluster"),
        pytest.param("mongodb+srv://h/?tls=false", {}, "not encrypted", True, id="cluster without TLS"),
        pytest.param("mongodb://h/?tls=true&tlsInsecure=true", {}, ANY, True, id="insecure"),
        pytest.param("mongodb://h/?tlsAllowInvalidCertificates=true", {}, ANY, True, id="any certificate"),
        pytest.param(
            "mongodb://h/?tls=true&tlsAllowInvalidHostnames=true",
            {},
            "TLS, the server's certificate is verified, not its name",
            False,
            id="any name",
        ),
    ],
)
def test_what_the_plan_says(uri: str, changes: dict[str, object], said: str, is_risky: bool) -> None:
    config = dataclasses.replace(HOST, **changes)  # type: ignore[arg-type]
    assert protection(config, uri) == said
    assert bool(transport_risks(config, uri)) is is_risky
