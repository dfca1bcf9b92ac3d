"""The image's entry point, as a job of Cloud Run starts it with the arguments that a launch file gives it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from sync_pipeline.launching import requests
from sync_pipeline.launching.launch_file import read_launch
from tests import fork_server
from tests.integration.launching import ROOT
from tests.integration.syncing import Syncing


def test_container_appends_once(syncing: Syncing, tmp_path: Path) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY)")
    syncing.execute("INSERT INTO items VALUES (1), (2)")
    parameters = syncing.parameters(
        postgresql_query="SELECT id FROM items",
        postgresql_password="projects/sandbox-project/secrets/postgresql-password/versions/latest",
    )
    launch = read_launch(
        yaml.safe_dump(
            {
                "job_name": "items",
                "project": "my-project",
                "region": "us-central1",
                "cloud_run": {"image": "us-central1-docker.pkg.dev/my-project/sync/sync-to-bigquery:1"},
                "environment": {"tempLocation": syncing.folder},
                "parameters": parameters,
            }
        )
    )
    assert launch.cloud_run is not None
    (container,) = requests.cloud_run_job(launch, launch.cloud_run)["template"]["template"]["containers"]
    entrypoint = tmp_path / "entrypoint.sh"
    entrypoint.write_text((ROOT / "entrypoint.sh").read_text().replace("/template/main.py", str(ROOT / "main.py")))
    # https://cloud.google.com/run/docs/container-contract#jobs-env-vars
    variables = {"CLOUD_RUN_JOB": "items", "CLOUD_RUN_EXECUTION": "items-abcde", "CLOUD_RUN_TASK_INDEX": "0"}
    outcomes = []
    for attempt in ("0", "1"):
        done = subprocess.run(
            ["/bin/sh", entrypoint, *container["args"]],
            env={
                **os.environ,
                **syncing.endpoints.environment(),
                **variables,
                "CLOUD_RUN_TASK_ATTEMPT": attempt,
                "PATH": f"{Path(fork_server.python()).parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        outcomes += [line for line in done.stderr.splitlines() if "sync report: " in line]
    first, second = outcomes
    assert "loaded 2 rows into" in first
    assert "an earlier attempt of items-abcde, already loaded the rows" in second
    table = f"{syncing.endpoints.project}.{syncing.dataset}.{parameters['destination_bigquery_table']}"
    assert syncing.column(f"SELECT id FROM `{table}` ORDER BY id") == [1, 2]
