"""What `check` says of rights, which the sandbox gives to everybody: a shell reads its commands as they are meant."""

from __future__ import annotations

import shlex
from typing import Any
from unittest import mock

import pytest
from google.api_core.exceptions import Forbidden, PermissionDenied, ServiceUnavailable
from google.auth.exceptions import DefaultCredentialsError

from sync_pipeline.cli import findings, source_findings
from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources import grants
from tests.parameter_sets import BIGQUERY, POSTGRESQL

ACCOUNT = "sync@my-project.iam.gserviceaccount.com"


@pytest.fixture(params=[ACCOUNT, ""], ids=["a service account", "a person"])
def member(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who asks, as a shell gives it to a program; a shell would put in the person's address."""
    credentials = mock.Mock(service_account_email=request.param)
    monkeypatch.setattr("google.auth.default", lambda: (credentials, None))
    return f"serviceAccount:{ACCOUNT}" if request.param else "user:$(gcloud config get-value account)"


def refusing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def client(**_: Any) -> Any:
        raise error

    monkeypatch.setattr(findings.bigquery, "Client", client)
    monkeypatch.setattr(findings.storage, "Client", client)


def test_rights_on_a_dataset(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, Forbidden("no"))
    finding, _ = findings._of_dataset("my-project", "shop", "dataset")
    role, grant = map(shlex.split, finding.commands)
    assert role[-1] == f"--member={member}"
    assert grant[-1] == f'GRANT `roles/bigquery.dataEditor` ON SCHEMA `my-project.shop` TO "{member}"'
    assert finding.lines()[0].startswith("MISSING  dataset   my-project.shop: no")


def test_rights_on_a_bucket(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, Forbidden("no"))
    finding = findings._of_bucket(RunConfig.from_parameters(POSTGRESQL), "gs://bucket/files", {"EU"})
    words = [shlex.split(command) for command in finding.commands]
    assert [command[-1] for command in words] == [
        "--role=roles/storage.objectAdmin",
        "--role=roles/storage.legacyBucketReader",
    ]
    assert all(f"--member={member}" in command for command in words)


def test_an_api_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, Forbidden("off", errors=[{"reason": "accessNotConfigured", "message": "off"}]))
    finding, _ = findings._of_dataset("my-project", "shop", "dataset")
    assert finding.text == "my-project.shop: the API is not enabled in my-project"
    assert finding.commands == ("gcloud services enable bigquery.googleapis.com --project=my-project",)
    finding = findings._of_bucket(RunConfig.from_parameters(POSTGRESQL), "gs://bucket/files", {"EU"})
    assert finding.commands[0].startswith("gcloud services enable storage.googleapis.com --project=")


def test_rights_on_a_source_in_bigquery(member: str) -> None:
    server = RunConfig.from_parameters({**BIGQUERY, "source_bigquery_dataset": "raw"}).source
    role, grant = map(shlex.split, grants("bigquery", server, []))
    assert role[-1] == f"--member={member}"
    assert grant[-1].startswith("GRANT `roles/bigquery.dataViewer` ON SCHEMA `")
    assert grant[-1].endswith(f' TO "{member}"')


def test_a_secret_without_the_right(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(secret: Secret) -> str:
        raise ConfigError(["cannot be read"]) from PermissionDenied("no")

    monkeypatch.setattr(Secret, "resolve", refuse)
    name = "projects/my-project/locations/europe-west1/secrets/shop/versions/latest"
    config = RunConfig.from_parameters({**POSTGRESQL, "postgresql_password": name})
    (finding,) = source_findings.find_secrets(config)
    (command,) = map(shlex.split, finding.commands)
    assert command == [
        *("gcloud", "secrets", "add-iam-policy-binding", "shop", "--project=my-project", "--location=europe-west1"),
        *("--role=roles/secretmanager.secretAccessor", f"--member={member}"),
    ]


@pytest.mark.parametrize(
    ("error", "commands"),
    [
        (DefaultCredentialsError("none"), ("gcloud auth application-default login",)),
        (ServiceUnavailable("later"), ()),
        (OSError("no network"), ()),
    ],
)
def test_what_cannot_be_asked(error: Exception, commands: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, error)
    finding, location = findings._of_dataset("my-project", "shop", "dataset")
    assert (finding.is_fine, finding.commands, location) == (False, commands, "")
