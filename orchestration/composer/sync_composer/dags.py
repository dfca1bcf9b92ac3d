"""The DAGs of a folder of manifests: one a manifest, and one that looks after all.

The DAG file calls `dags_in` and makes the result its globals. A manifest that is gone is a DAG that is not made, so
Airflow unschedules it; jobs that run go on.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Sequence
from typing import Any

from airflow.providers.google.cloud.hooks.dataflow import DataflowHook
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, Variable, chain, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.timetables.interval import CronDataIntervalTimetable

from .folders import Entry, Manifests, read_manifests
from .health import ENDED, RUN_LABEL, awaited_states, jobs_of_name, problems_of_job, run_label
from .launch_files import Launch
from .manifests import CANCEL, ROLLING, Rollout, Schedule, Validation
from .operators import LaunchSync, WaitForJob, cancel_job, list_jobs

TAG = "sync-to-bigquery"
CONTROLLER = "sync_manifests"
_VERSION_RUN = "version__"
_OWN_CHECK = datetime.timedelta(minutes=5)
# Parameters of a run by hand: the slot to load again.
_SLOT = {
    name: Param(None, type=["null", "string"], format="date-time", description=f"{name} of a slot to load again")
    for name in ("interval_start", "interval_end")
}


def dags_in(place: str, *, poll_seconds: int = 60) -> dict[str, DAG]:
    """Return the DAGs by their ids.

    Args:
        place: a folder, or gs://BUCKET/FOLDER.
        poll_seconds: how long to wait between two looks at a job, and before an attempt is repeated.

    Raises:
        OSError: the folder is not there.
    """
    manifests = read_manifests(place)
    dags = [_dag_of(entry, poll_seconds) for entry in manifests.entries]
    dags.append(_controller(manifests, poll_seconds))
    return {dag.dag_id: dag for dag in dags}


def rollout_id(name: str) -> str:
    """Return the id of a rollout's DAG."""
    return f"sync_rollout_{name}"


def schedule_id(name: str) -> str:
    """Return the id of a schedule's DAG."""
    return f"sync_schedule_{name}"


def release_variable(name: str) -> str:
    """Return the name of Airflow's variable with what the rollout last released."""
    return f"sync_release_{name}"


def _dag_of(entry: Entry, poll_seconds: int) -> DAG:
    if entry.problems:
        return _invalid(entry)
    if isinstance(entry.manifest, Rollout):
        return _rollout(entry.manifest, entry.launch, poll_seconds)
    assert isinstance(entry.manifest, Schedule)
    return _schedule(entry.manifest, entry.launch, poll_seconds)


def _dag(dag_id: str, manifest: Rollout | Schedule, poll_seconds: int, **settings: Any) -> DAG:
    return DAG(
        dag_id,
        description=manifest.description or None,
        tags=[TAG],
        catchup=False,
        max_active_runs=1,
        # The manifest was uploaded to be carried out.
        is_paused_upon_creation=False,
        default_args={"retries": 3, "retry_delay": datetime.timedelta(seconds=poll_seconds)},
        **settings,
    )


def _schedule(manifest: Schedule, launch: Launch | None, poll_seconds: int) -> DAG:
    zone = zoneinfo.ZoneInfo(manifest.time_zone)
    end = manifest.end_date
    dag = _dag(
        schedule_id(manifest.name),
        manifest,
        poll_seconds,
        schedule=CronDataIntervalTimetable(manifest.cron, timezone=manifest.time_zone),
        start_date=datetime.datetime.combine(manifest.start_date, datetime.time(), zone),
        end_date=end and datetime.datetime.combine(end, datetime.time.max, zone),
        params=_SLOT,
    )

    @task
    def prepare() -> dict[str, Any]:
        """Return what to launch: the released version, or the launch file's, for the slot if there is one."""
        context = get_current_context()
        chosen = launch or _released(manifest.rollout)
        slot = _slot_of(context)
        try:
            return _prepared(chosen.for_slot(*slot) if slot else chosen, context)
        except ValueError as error:
            raise AirflowFailException(str(error)) from None

    with dag:
        _launch_and_check(prepare(), manifest.validation, poll_seconds)
    return dag


def _rollout(manifest: Rollout, launch: Launch | None, poll_seconds: int) -> DAG:
    assert launch is not None
    dag = _dag(rollout_id(manifest.name), manifest, poll_seconds, schedule=None)
    is_rolling = manifest.strategy == ROLLING
    # Dataflow refuses a second active job of a name.
    started = launch.with_parameters(manifest.candidate.get("parameters", {})).named(manifest.version)
    started = started if is_rolling else launch

    @task
    def prepare() -> dict[str, Any]:
        """Return what to launch, unless the run is of a version that is no longer in the manifest."""
        context = get_current_context()
        run_id = str(context["run_id"])
        if run_id.startswith(_VERSION_RUN) and run_id != f"{_VERSION_RUN}{manifest.version}":
            raise AirflowSkipException(f"{run_id} is not version {manifest.version}, which the manifest has now")
        return _prepared(started, context)

    @task
    def find_old_jobs() -> list[str]:
        """Return the active jobs of the launch file's name: those that this rollout replaces."""
        found = jobs_of_name(list_jobs(DataflowHook(), launch.project, launch.region), launch.job_name)
        if manifest.old_job == CANCEL:
            for job_id in found:
                cancel_job(DataflowHook(), launch.project, launch.region, job_id)
        return found

    @task(trigger_rule="none_failed_min_one_success")
    def release() -> None:
        """Make this version the one that schedules with `rollout` launch."""
        released = {"version": manifest.version, "launch": launch.as_dict()}
        Variable.set(release_variable(manifest.name), released, serialize_json=True)

    with dag:
        prepared = prepare()
        old_jobs = find_old_jobs()
        stopped = WaitForJob.partial(
            task_id="wait_for_old_jobs",
            expected_statuses=set(ENDED),
            project_id=launch.project,
            location=launch.region,
            poll_interval=poll_seconds,
            poke_interval=poll_seconds,
            mode="reschedule",
            timeout=manifest.validation.timeout_minutes * 60,
        ).expand(job_id=old_jobs)
        if is_rolling:
            _, checked = _launch_and_check(prepared, manifest.validation, poll_seconds)
            chain(checked, old_jobs, stopped, released := release())
            # Without old jobs the wait for them is skipped.
            chain(checked, released)
        else:
            chain(prepared, old_jobs)
            launched, checked = _launch_and_check(prepared, manifest.validation, poll_seconds)
            launched.trigger_rule = "none_failed_min_one_success"
            chain(stopped, launched)
            chain(checked, release())
    return dag


def _launch_and_check(prepared: Any, validation: Validation, poll_seconds: int) -> tuple[Any, Any]:
    """Add the tasks that launch, wait and validate; return the first and the last."""
    first, waited = _launch_and_wait(prepared, validation, poll_seconds, "")
    last = _check_task(validation, "check")(prepared, first.output)
    chain(waited, last)
    if validation.reconcile:
        # On Dataflow a job that finds differences succeeds: it has compared.
        comparison = Validation(timeout_minutes=validation.timeout_minutes, counters={"rows_differing": (None, 0)})
        comparing = _reconciliation(prepared)
        compared, compared_waited = _launch_and_wait(comparing, comparison, poll_seconds, "_reconciliation")
        chain(last, comparing)
        last = _check_task(comparison, "check_reconciliation")(comparing, compared.output)
        chain(compared_waited, last)
    return first, last


def _launch_and_wait(prepared: Any, validation: Validation, poll_seconds: int, part: str) -> tuple[Any, Any]:
    launched = LaunchSync(
        task_id=f"launch{part}",
        body=prepared["request"],
        project_id=prepared["project"],
        location=prepared["region"],
        append_job_name=False,
        deferrable=False,
    )
    waited = WaitForJob(
        task_id=f"wait{part}",
        job_id=launched.output,
        expected_statuses=awaited_states(validation),
        project_id=prepared["project"],
        location=prepared["region"],
        poll_interval=poll_seconds,
        poke_interval=poll_seconds,
        mode="reschedule",
        timeout=validation.timeout_minutes * 60,
    )
    chain(launched, waited)
    return launched, waited


def _check_task(validation: Validation, task_id: str) -> Any:
    @task(task_id=task_id)
    def check(launched: dict[str, Any], job_id: str) -> None:
        """Fail, with all reasons, if the job is not healthy."""
        where = {"job_id": job_id, "project_id": launched["project"], "location": launched["region"]}
        hook = DataflowHook()
        metrics = hook.fetch_job_metrics_by_id(**where).get("metrics", []) if validation.counters else []
        problems = list(
            problems_of_job(hook.get_job(**where), hook.fetch_job_messages_by_id(**where), metrics, validation)
        )
        if problems:
            # Another look at the same job would find the same.
            raise AirflowFailException("\n".join(problems))

    return check


@task(task_id="prepare_reconciliation")
def _reconciliation(launched: dict[str, Any]) -> dict[str, Any]:
    """Return the launch that compares the destination of the validated job with the source."""
    compared = Launch.from_dict(launched["launch"]).with_parameters({"reconcile": "report"}).named("reconcile")
    return _prepared(compared, get_current_context(), "reconcile")


def _prepared(launch: Launch, context: Any, part: str = "sync") -> dict[str, Any]:
    label = {RUN_LABEL: run_label(context["dag"].dag_id, str(context["run_id"]), part)}
    return {
        "project": launch.project,
        "region": launch.region,
        "request": launch.request(label),
        "launch": launch.as_dict(),
    }


def _released(rollout: str) -> Launch:
    released = Variable.get(release_variable(rollout), default=None, deserialize_json=True)
    if released is None:
        raise AirflowFailException(
            f"rollout {rollout} has not released a version yet: run the DAG {rollout_id(rollout)}, or look why it "
            "failed"
        )
    return Launch.from_dict(released["launch"])


def _slot_of(context: Any) -> Sequence[datetime.datetime] | None:
    """Return the slot to load again, of the run's parameters or of a backfill; None goes on from the last run's end."""
    given = [context["params"].get(name) for name in _SLOT]
    if any(given):
        if not all(given):
            raise AirflowFailException("of interval_start and interval_end only one is given: give both, or none")
        slot = [datetime.datetime.fromisoformat(str(each).replace("Z", "+00:00")) for each in given]
        if any(each.tzinfo is None for each in slot):
            raise AirflowFailException(
                "interval_start and interval_end have no time zone: give one, such as …T00:00:00Z"
            )
        return slot
    if context["dag_run"].run_type == "backfill":
        return context["data_interval_start"], context["data_interval_end"]
    return None


def _invalid(entry: Entry) -> DAG:
    """Return a DAG that takes the place of the one that cannot be made. Its runs fail with all mistakes."""
    dag_id = rollout_id(entry.name) if entry.is_rollout else schedule_id(entry.name)
    told = "\n".join(f"{entry.path}: {problem}" for problem in entry.problems)
    listed = "".join(f"* {problem}\n" for problem in entry.problems)
    with DAG(
        dag_id,
        schedule=None,
        tags=[TAG, "invalid"],
        is_paused_upon_creation=False,
        doc_md=f"`{entry.path}` has mistakes:\n\n{listed}",
    ) as dag:
        _fail_task("read_manifest", told)()
    return dag


def _controller(manifests: Manifests, poll_seconds: int) -> DAG:
    """Return the DAG that starts the rollout of each new version, and fails while a manifest has mistakes.

    A version's run has an id of its own, and Airflow takes an id once: that is all the state there is.
    """
    with DAG(
        CONTROLLER,
        schedule=_OWN_CHECK,
        start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        catchup=False,
        max_active_runs=1,
        tags=[TAG],
        is_paused_upon_creation=False,
        default_args={"retries": 3, "retry_delay": datetime.timedelta(seconds=poll_seconds)},
    ) as dag:
        _fail_task("check_manifests", "\n".join(manifests.problems()))()
        for entry in manifests.rollouts:
            if isinstance(entry.manifest, Rollout) and not entry.problems:
                TriggerDagRunOperator(
                    task_id=f"start_{entry.name}",
                    trigger_dag_id=rollout_id(entry.name),
                    trigger_run_id=f"{_VERSION_RUN}{entry.manifest.version}",
                    skip_when_already_exists=True,
                )
    return dag


def _fail_task(task_id: str, told: str) -> Any:
    @task(task_id=task_id)
    def fail() -> None:
        """Fail if there is anything to tell."""
        if told:
            raise AirflowFailException(told)

    return fail
