"""What `check` finds at the source, in Cloud Storage and in BigQuery."""

from __future__ import annotations

import contextlib
import shlex
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import google.auth
import requests
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery, storage

from sync_pipeline.bigquery_api.client import reason_of
from sync_pipeline.errors import SyncError, message_of
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.pipeline import plan_run
from sync_pipeline.planning.bucket_location import check_bucket
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.printable import named, on_one_line
from sync_pipeline.sources import grants, open_catalog, open_source

_SECONDS = 20
_ONCE = Retry(predicate=lambda _error: False)
_MAX_NAMES = 5
_ERRORS = (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException, OSError)
_LOG_IN = "gcloud auth application-default login"
# The table's own end, if it cannot be deleted.
_EXPIRY = timedelta(hours=1)


@dataclass(frozen=True)
class Finding:
    """One thing that was tested.

    Attributes:
        subject: what was tested, a word.
        text: what was found, on one line.
        commands: what mends it, a command or statement each.
    """

    subject: str
    text: str
    is_fine: bool = True
    commands: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the finding and its commands as lines."""
        mark = "MISSING" if not self.is_fine else "note" if self.commands else "ok"
        return [on_one_line(f"{mark:<8} {self.subject:<9} {self.text}"), *(f"             {c}" for c in self.commands)]


def find(config: RunConfig, folder: str) -> list[Finding]:
    """Test all that a run needs.

    Args:
        folder: `temp_location`, or empty.
    """
    found = list(_of_source(config))
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


def _of_source(config: RunConfig) -> Iterator[Finding]:
    try:
        if config.selection is None:
            assert config.single is not None
            with open_source(config.single).connect():
                pass
            yield Finding("source", f"{config.data_source}: it answers, and accepts the query")
            return
        selection = config.selection
        with open_catalog(config.data_source, config.source, config.max_retries, selection) as catalog:
            tables = list(catalog.tables)
            choice = selection.choose(tables)
    except SyncError as error:
        yield Finding("source", message_of(error), is_fine=False)
        return
    chosen = f"{len(choice.tables):,} table{'' if len(choice.tables) == 1 else 's'} to sync"
    yield Finding("source", f"{config.data_source}: it answers; {chosen}")
    for name, problem in choice.failed.items():
        yield Finding("table", f"{name}: {message_of(problem)}", is_fine=False)
    wanted = {one.table.name for one in choice.tables if one.table is not None}
    named_ones = [table.name for table in tables if not table.may_read and table.name in wanted]
    others = [
        table.name
        for table in tables
        if not table.may_read and table.name not in wanted and selection.matches(table.name)
    ]
    for names, is_fine in ((named_ones, False), (others, True)):
        if names:
            text = f"no right to read {named([str(name) for name in names], _MAX_NAMES)}"
            commands = grants(config.data_source, config.source, names)
            then = ": a wildcard leaves them out" if is_fine else ""
            yield Finding("rights", f"{text}{then}", is_fine=is_fine, commands=tuple(map(on_one_line, commands)))


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
        text = f"{dataset_id} does not exist; its location is where its data shall be"
        return Finding(subject, text, is_fine=False, commands=(make,)), ""
    except exceptions.Forbidden as error:
        return Finding(
            subject, f"{dataset_id}: {reason_of(error)}", is_fine=False, commands=_rights(project, dataset_id)
        ), location
    except _ERRORS as error:
        return _unreachable(subject, dataset_id, error), location
    return Finding(subject, f"{dataset_id}, in {location}: tables can be created, and jobs run"), location


def _rights(project: str, dataset_id: str) -> tuple[str, ...]:
    """Return the commands that give the rights on a dataset."""
    grant = f"GRANT `roles/bigquery.dataEditor` ON SCHEMA `{dataset_id}` TO {_sql_member()}"
    return (
        f"gcloud projects add-iam-policy-binding {project} --role=roles/bigquery.jobUser --member={_member()}",
        f"bq query --project_id={project} --nouse_legacy_sql '{grant}",
    )


def _of_bucket(config: RunConfig, folder: str, locations: set[str]) -> Finding:
    project, where = config.destination_project, next(iter(sorted(locations)), "US")
    if not folder.startswith("gs://"):
        text = "no folder for staged files: make a bucket, and give environment.tempLocation or --temp_location"
        name = f"{project}-sync"
        make = f"gcloud storage buckets create gs://{name} --project={project} --location={where}"
        return Finding("bucket", f"{text}, such as gs://{name}/files", is_fine=False, commands=(make,))
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
    except exceptions.Forbidden:
        bind = f"gcloud storage buckets add-iam-policy-binding gs://{shlex.quote(name)} --member={_member()}"
        roles = ("roles/storage.objectAdmin", "roles/storage.legacyBucketReader")
        text = f"gs://{name}: no right to write, list and delete files"
        return Finding("bucket", text, is_fine=False, commands=tuple(f"{bind} --role={role}" for role in roles))
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


def _account() -> str:
    """Return the address of the service account of this process; empty for a person."""
    with contextlib.suppress(GoogleAuthError):
        credentials, _ = google.auth.default()
        address = getattr(credentials, "service_account_email", "")
        return address if "@" in str(address) else ""
    return ""


def _member() -> str:
    """Return who gets a role, as a word of a command."""
    account = _account()
    return f"serviceAccount:{account}" if account else '"user:$(gcloud config get-value account)"'


def _sql_member() -> str:
    """Return who gets a role as the end of a statement that began with a single quote, with that quote's end."""
    account = _account()
    return f'"serviceAccount:{account}"\'' if account else '"user:\'"$(gcloud config get-value account)"\'"\''
