"""What `check` finds at the source (`source_findings`), in Cloud Storage and in BigQuery."""

from __future__ import annotations

import shlex
import uuid
from datetime import UTC, datetime, timedelta

import requests
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery, storage

from sync_pipeline.bigquery_api.client import reason_of
from sync_pipeline.bigquery_api.rights import dataset_right, job_right, member
from sync_pipeline.cli.finding import Finding
from sync_pipeline.cli.source_findings import find_secrets, find_source
from sync_pipeline.errors import SyncError, message_of
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.pipeline import plan_run
from sync_pipeline.planning.bucket_location import check_bucket
from sync_pipeline.planning.run_plan import RunPlan

_SECONDS = 20
_ONCE = Retry(predicate=lambda _error: False)
_ERRORS = (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException, OSError)
_LOG_IN = "gcloud auth application-default login"
# The table's own end, if it cannot be deleted.
_EXPIRY = timedelta(hours=1)


def find(config: RunConfig, folder: str) -> list[Finding]:
    """Test all that a run needs.

    Args:
        folder: `temp_location`, or empty.
    """
    found = list(find_secrets(config)) or list(find_source(config))
    datasets = [_of_dataset(config.destination_project, name, "dataset") for name in _datasets(config)]
    found += [finding for finding, _ in datasets]
    locations = {location for _, location in datasets if location}
    found.append(_of_bucket(config, folder, locations))
    if all(finding.is_fine for finding in found):
        found.append(_of_tables(config))
    return found


def _datasets(config: RunConfig) -> list[str]:
    staging = config.single.destination.staging_dataset if config.single is not None else None
    if config.selection is not None:
        staging = config.selection.values["staging_dataset"]
    return list(dict.fromkeys(name for name in (config.destination_dataset, staging) if name))


def _of_dataset(project: str, name: str, subject: str) -> tuple[Finding, str]:
    """Return the finding about a dataset, and its location, empty if unknown."""
    dataset_id, location = f"{project}.{name}", ""
    try:
        client = bigquery.Client(project=project)
        location = str(client.get_dataset(dataset_id, timeout=_SECONDS, retry=_ONCE).location or "US")
        client.query(
            "SELECT 1", bigquery.QueryJobConfig(dry_run=True), location=location, retry=_ONCE, timeout=_SECONDS
        )
        table = bigquery.Table(f"{dataset_id}._check_{uuid.uuid4().hex[:12]}", [bigquery.SchemaField("id", "INT64")])
        table.expires = datetime.now(UTC) + _EXPIRY
        client.create_table(table, timeout=_SECONDS, retry=_ONCE)
        client.delete_table(table, timeout=_SECONDS, retry=_ONCE)
    except exceptions.NotFound:
        if location:
            return Finding(subject, f"{dataset_id} does not keep a new table", is_fine=False), location
        make = f"bq --project_id={project} --location=US mk --dataset {project}:{name}"
        text = f"{dataset_id} does not exist: create it, in the location where the data may be stored"
        return Finding(subject, text, is_fine=False, commands=(make,)), ""
    except exceptions.Forbidden as error:
        rights = (job_right(project), dataset_right(project, dataset_id, "roles/bigquery.dataEditor"))
        return _refused(subject, dataset_id, project, error, rights), location
    except _ERRORS as error:
        return _unreachable(subject, dataset_id, error), location
    return Finding(subject, f"{dataset_id}, in {location}: tables can be created, and jobs run"), location


def _refused(subject: str, name: str, project: str, error: Exception, rights: tuple[str, ...]) -> Finding:
    """Return the finding about a request that was forbidden: the API is off, or rights are missing."""
    if _reason(error) == "accessNotConfigured":
        service = "storage" if name.startswith("gs://") else "bigquery"
        enable = f"gcloud services enable {service}.googleapis.com --project={project}"
        return Finding(subject, f"{name}: the API is not enabled in {project}", is_fine=False, commands=(enable,))
    return Finding(subject, f"{name}: {reason_of(error)}", is_fine=False, commands=rights)


def _reason(error: Exception) -> str:
    said = getattr(error, "errors", None) or [{}]
    return str(said[0].get("reason", "")) if isinstance(said[0], dict) else ""


def _of_bucket(config: RunConfig, folder: str, locations: set[str]) -> Finding:
    project, where = config.destination_project, next(iter(sorted(locations)), "US")
    if not folder.startswith("gs://"):
        name = f"{project}-sync"
        text = (
            "no folder for staged files: create a bucket in the location of the dataset, and write tempLocation: "
            f"gs://{name}/tmp below environment in the launch file"  # noqa: S108
        )
        make = f"gcloud storage buckets create gs://{name} --project={project} --location={where}"
        return Finding("bucket", text, is_fine=False, commands=(make,))
    name, _, path = folder.removeprefix("gs://").partition("/")
    try:
        bucket = storage.Client(project=project).bucket(name)
        blob = bucket.blob("/".join(filter(None, (path.strip("/"), "sync", f"check-{uuid.uuid4().hex[:12]}"))))
        blob.upload_from_string(b"", timeout=_SECONDS, retry=None)
        list(bucket.list_blobs(prefix=blob.name, max_results=1, timeout=_SECONDS, retry=None))
        blob.delete(timeout=_SECONDS, retry=None)
        notes = check_bucket(f"{folder}/", project, locations)
    except exceptions.NotFound:
        make = f"gcloud storage buckets create gs://{shlex.quote(name)} --project={project} --location={where}"
        return Finding("bucket", f"gs://{name} does not exist", is_fine=False, commands=(make,))
    except exceptions.Forbidden as error:
        bind = f"gcloud storage buckets add-iam-policy-binding gs://{shlex.quote(name)} --member={member()}"
        roles = ("roles/storage.objectAdmin", "roles/storage.legacyBucketReader")
        return _refused("bucket", f"gs://{name}", project, error, tuple(f"{bind} --role={role}" for role in roles))
    except _ERRORS as error:
        return _unreachable("bucket", f"gs://{name}", error)
    except SyncError as error:
        return Finding("bucket", message_of(error), is_fine=False)
    return Finding("bucket", "; ".join((f"gs://{name}: files can be written, listed and deleted", *notes)))


def _of_tables(config: RunConfig) -> Finding:
    """Plan the run, which finds what concerns single tables."""
    try:
        plan: RunPlan = plan_run(config, bigquery.Client(project=config.destination_project), "")
    except SyncError as error:
        return Finding("tables", message_of(error), is_fine=False)
    if plan.failed:
        texts = "; ".join(f"{failed.name}: {message_of(failed.error)}" for failed in plan.failed)
        return Finding("tables", texts, is_fine=False)
    return Finding("tables", f"{len(plan.tables):,} can be synced")


def _unreachable(subject: str, name: str, error: Exception) -> Finding:
    if isinstance(error, GoogleAuthError):
        text = f"{name}: no valid credentials ({type(error).__name__})"
        return Finding(subject, text, is_fine=False, commands=(_LOG_IN,))
    return Finding(subject, f"{name} could not be asked ({type(error).__name__})", is_fine=False)
