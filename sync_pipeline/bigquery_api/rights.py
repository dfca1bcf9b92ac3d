"""Commands that give whoever runs this process rights in Google Cloud."""

from __future__ import annotations

import contextlib

import google.auth
from google.auth.exceptions import GoogleAuthError


def member() -> str:
    """Return who gets a role, as a word of a command."""
    account = _account()
    return f"serviceAccount:{account}" if account else '"user:$(gcloud config get-value account)"'


def job_right(project: str) -> str:
    """Return the command that gives the right to run jobs in a project."""
    return f"gcloud projects add-iam-policy-binding {project} --role=roles/bigquery.jobUser --member={member()}"


def dataset_right(project: str, dataset_id: str, role: str) -> str:
    """Return the command that gives a role on a dataset. `dataset_id` is `PROJECT.DATASET`."""
    grant = f"GRANT `{role}` ON SCHEMA `{dataset_id}` TO {_sql_member()}"
    return f"bq query --project_id={project} --nouse_legacy_sql '{grant}"


def _account() -> str:
    """Return the address of the service account of this process; empty for a person."""
    with contextlib.suppress(GoogleAuthError):
        credentials, _ = google.auth.default()
        address = getattr(credentials, "service_account_email", "")
        return address if "@" in str(address) else ""
    return ""


def _sql_member() -> str:
    """Return who gets a role as the end of a statement that began with a single quote, with that quote's end."""
    account = _account()
    return f'"serviceAccount:{account}"\'' if account else '"user:\'"$(gcloud config get-value account)"\'"\''
