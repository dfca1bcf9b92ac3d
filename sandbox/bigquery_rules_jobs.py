"""Rules about jobs: their location, the scope of their ids, and their statistics."""

import functools
import urllib.parse

import bigquery_request
import bigquery_rules_tables
from bigquery_request import location as job_location
from local_bigquery import app
from local_bigquery.api import jobs, uploads
from local_bigquery.catalog import datasets, row_access, tables
from local_bigquery.engine import database
from local_bigquery.jobs import runner, store
from local_bigquery.models import Job, JobConfiguration, JobConfigurationQuery
from local_bigquery.sql.translate import parse
from sqlglot import exp
from starlette.middleware.base import BaseHTTPMiddleware

# The default location for looking up a job.
# https://cloud.google.com/bigquery/docs/locations#specify_locations
_SEARCHED = ("US", "EU")


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    identify_callers_within_their_requests()
    follow_locations_of_requests()
    tell_jobs_of_locations_apart()
    know_what_a_job_belongs_to()


def identify_callers_within_their_requests() -> None:
    """Unpatched: Starlette runs each request in a task of its own to tell the caller, a tenth of a request's time."""
    app.user_middleware[:] = [one for one in app.user_middleware if one.cls is not BaseHTTPMiddleware]
    app.add_middleware(_CallerOfRequest)


class _CallerOfRequest:
    def __init__(self, application):
        self._application = application

    async def __call__(self, scope, receive, send):
        authorization = dict(scope.get("headers", ())).get(b"authorization")
        identity = row_access.identify(authorization and authorization.decode())
        with bigquery_request.bound(row_access.caller, identity):
            await self._application(scope, receive, send)


def follow_locations_of_requests() -> None:
    """Unpatched: the location of a request is ignored, and every job is in US."""
    app.add_middleware(_LocationOfRequest)
    for route in jobs.router.routes:
        if route.endpoint in (jobs.insert_job, jobs.run_query):
            route.endpoint = _with_location_of_body(route.endpoint)
    start = uploads._start

    def start_in_location(project_id, body, upload):
        with bigquery_request.bound(job_location, _location_of(project_id, body)):
            return start(project_id, body, upload)

    uploads._start = start_in_location


class _LocationOfRequest:
    def __init__(self, application):
        self._application = application

    async def __call__(self, scope, receive, send):
        given = urllib.parse.parse_qs(scope.get("query_string", b"").decode()).get("location", [None])[0]
        with bigquery_request.bound(job_location, given and _spelled(given)):
            await self._application(scope, receive, send)


def _with_location_of_body(endpoint):
    @functools.wraps(endpoint)
    def in_location(project_id, body):
        with bigquery_request.bound(job_location, _location_of(project_id, body)):
            return endpoint(project_id, body)

    return in_location


def _location_of(project_id, body) -> str:
    """Return the location in which a job runs: the request's, else that of its datasets.

    https://cloud.google.com/bigquery/docs/locations#specify_locations
    """
    if isinstance(body, Job):
        given, configuration = body.jobReference and body.jobReference.location, body.configuration
    else:
        given, configuration = body.location, JobConfiguration(query=JobConfigurationQuery.model_validate(body.dump()))
    return _spelled(given) if given else _inferred(project_id, configuration or JobConfiguration())


def _spelled(location: str) -> str:
    return location.upper() if location.upper() in _SEARCHED else location.lower()


def tell_jobs_of_locations_apart() -> None:
    """Unpatched: a job id is unique per project, not per project and location; child jobs have no `evaluationKind`.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/JobReference
    """
    database.EMULATOR_SCHEMA = database.EMULATOR_SCHEMA.replace(
        "PRIMARY KEY (project_id, job_id)", "location VARCHAR,\n    PRIMARY KEY (project_id, job_id, location)"
    )

    def save(job):
        if job.statistics.parentJobId:
            kind = {"evaluationKind": "STATEMENT"}
            job = job.replace(statistics=job.statistics.replace(scriptStatistics=kind))
        reference = job.jobReference
        values = [reference.projectId, reference.jobId, job.statistics.parentJobId, job.status.state]
        values += [int(job.statistics.creationTime), store.json.dumps(job.dump()), reference.location]
        store.execute("INSERT OR REPLACE INTO emulator.jobs VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return job

    def load(project_id, job_id):
        for location in _locations():
            rows = store.fetch(
                "SELECT resource FROM emulator.jobs WHERE project_id = ? AND job_id = ? AND location = ?",
                [project_id, job_id, location],
            )
            if rows:
                return Job.model_validate_json(rows[0][0])
        return None

    store.save, store.load = save, load
    runner._running = _ByLocation()
    job = runner._job

    def job_in_location(project_id, job_id, configuration):
        location = job_location.get() or "US"
        made = job(project_id, job_id, configuration)
        link = f"/bigquery/v2/projects/{project_id}/jobs/{job_id}?location={location}"
        reference = {"projectId": project_id, "jobId": job_id, "location": location}
        return made.replace(id=f"{project_id}:{location}.{job_id}", selfLink=link, jobReference=reference)

    runner._job = job_in_location


def _locations() -> tuple[str, ...]:
    given = job_location.get()
    return (given,) if given else _SEARCHED


class _ByLocation(dict):
    """The jobs that run, by project, id and location."""

    def __setitem__(self, key, value):
        super().__setitem__((*key, _locations()[0]), value)

    def get(self, key, default=None):
        found = (super(_ByLocation, self).get((*key, location)) for location in _locations())
        return next((one for one in found if one is not None), default)

    def pop(self, key, default=None):
        return super().pop((*key, _locations()[0]), default)


def know_what_a_job_belongs_to() -> None:
    """Give the rules the labels of a job, and count its updates to the metadata of its destination."""
    submit = runner.submit

    def submit_with_labels(project_id, job_id, configuration, upload=None):
        with bigquery_request.bound(bigquery_request.labels, configuration.labels):
            _count(configuration)
            return submit(project_id, job_id, configuration, upload)

    runner.submit = submit_with_labels


def _inferred(project_id, configuration) -> str:
    configs = (configuration.load, configuration.copy_, configuration.extract, configuration.query)
    keys = ("destinationTable", "sourceTable", "defaultDataset")
    named = [getattr(config, key, None) for config in configs for key in keys]
    found = [(one.projectId or project_id, one.datasetId) for one in named if one]
    if not found and configuration.query:
        found = [(table.catalog or project_id, table.db) for table in _tables(configuration.query.query or "")]
    for reference in found:
        if reference[1] and datasets.exists(*reference):
            return _spelled(datasets.get(*reference).location or "US")
    return "US"


def _tables(sql):
    try:
        return [table for tree in parse(sql) for table in tree.find_all(exp.Table) if table.db]
    except Exception:  # noqa: BLE001 - the job itself then fails with a clear error
        return []


def _count(configuration) -> None:
    for config in (configuration.load, configuration.copy_, configuration.query):
        if config is not None and config.destinationTable and not configuration.dryRun:
            bigquery_rules_tables.count_operation(
                tables.reference(config.destinationTable), bigquery_request.sync_run()
            )
