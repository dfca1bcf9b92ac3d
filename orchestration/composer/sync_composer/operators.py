"""Operators and sensors of the DAGs: the Google provider's, with what a sync needs besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.google.cloud.hooks.dataflow import DataflowHook
from airflow.providers.google.cloud.links.dataflow import DataflowJobLink
from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator
from airflow.providers.google.cloud.sensors.dataflow import DataflowJobStatusSensor

from .health import ENDED, RUN_LABEL


class LaunchSync(DataflowStartFlexTemplateOperator):
    """Launches the job, and returns its id without waiting for its end.

    An attempt whose answer was lost has launched the job. So the next attempt first looks for an active job with the
    label of this DAG run.
    """

    def execute(self, context: Any) -> str:
        launch = self.body["launchParameter"]
        label = launch["environment"]["additionalUserLabels"][RUN_LABEL]
        job_id = next(
            (
                job["id"]
                for job in list_jobs(self.hook, self.project_id, self.location)
                if job.get("name") == launch["jobName"]
                and job.get("labels", {}).get(RUN_LABEL) == label
                and job.get("currentState") not in ENDED
            ),
            None,
        )
        if job_id is None:
            job = self.hook.launch_job_with_flex_template(
                body=self.body, location=self.location, project_id=self.project_id
            )
            job_id = job["id"]
        else:
            self.log.info("An earlier attempt launched the job %s: it is waited for.", job_id)
        DataflowJobLink.persist(context=context, project_id=self.project_id, region=self.location, job_id=job_id)
        return str(job_id)


class WaitForJob(DataflowJobStatusSensor):
    """Waits for a job whose project and region are known when the task runs."""

    template_fields: Sequence[str] = ("job_id", "project_id", "location")


def list_jobs(hook: DataflowHook, project: str, region: str) -> list[dict[str, Any]]:
    """Return the active jobs of a region."""
    jobs = hook.get_conn().projects().locations().jobs()
    request, found = jobs.list(projectId=project, location=region, filter="ACTIVE"), []
    while request is not None:
        answer = request.execute(num_retries=hook.num_retries)
        found += answer.get("jobs", [])
        request = jobs.list_next(request, answer)
    return found


def cancel_job(hook: DataflowHook, project: str, region: str, job_id: str) -> None:
    """Ask for the job's cancellation. A batch job cannot be drained. One that ended meanwhile is left alone."""
    jobs = hook.get_conn().projects().locations().jobs()
    body = {"requestedState": "JOB_STATE_CANCELLED"}
    if hook.get_job(job_id=job_id, project_id=project, location=region).get("currentState") in ENDED:
        return
    jobs.update(projectId=project, location=region, jobId=job_id, body=body).execute(num_retries=hook.num_retries)
