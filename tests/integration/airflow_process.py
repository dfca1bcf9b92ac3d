"""Airflow in one process, for tests: python airflow_process.py FOLDER. It answers each line of its input by a line.

It runs in Airflow's own environment. It parses the DAG file and runs tasks as `dag.test()` does, in this process and
without a scheduler; the runs may be of any type. The only thing that is replaced is Google's address, for which the
hook has no setting.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
ANSWERS = os.fdopen(os.dup(1), "w")
# What Airflow prints belongs to its log.
os.dup2(2, 1)
os.environ |= {
    "AIRFLOW_HOME": str(FOLDER / "airflow"),
    "AIRFLOW__CORE__DAGS_FOLDER": str(FOLDER / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "false",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{FOLDER / 'airflow' / 'airflow.db'}",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(
        {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "num_retries": 1}}
    ),
}
sys.path.insert(0, str(FOLDER / "dags"))

from airflow import settings  # noqa: E402
from airflow.dag_processing.bundles.manager import DagBundlesManager  # noqa: E402
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db  # noqa: E402
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager  # noqa: E402
from airflow.models.dag import DagModel  # noqa: E402
from airflow.models.dagrun import DagRun  # noqa: E402
from airflow.providers.google.cloud.hooks.dataflow import DataflowHook  # noqa: E402
from airflow.sdk.definitions.dag import _run_task  # noqa: E402
from airflow.serialization.serialized_objects import DagSerialization  # noqa: E402
from airflow.utils.db import initdb  # noqa: E402
from airflow.utils.state import DagRunState, TaskInstanceState  # noqa: E402
from airflow.utils.types import DagRunTriggeredByType, DagRunType  # noqa: E402
from google.api_core.client_options import ClientOptions  # noqa: E402

DataflowHook.get_client_options = lambda _hook, *_: ClientOptions(api_endpoint=os.environ["SANDBOX_DATAFLOW_HOST"])


class Airflow:
    """The metadata database and the DAGs of the folder. Its methods are the requests."""

    def __init__(self) -> None:
        initdb()
        self.dags: dict[str, Any] = {}

    def parse(self) -> dict[str, Any]:
        """Parse the DAG file, and return the ids of the DAGs with their tags and tasks, and the errors."""
        session = settings.Session()
        manager = DagBundlesManager()
        manager.sync_bundles_to_db(session=session)
        session.commit()
        (bundle,) = manager.get_all_dag_bundles()
        bundle.initialize()
        started = datetime.now(UTC)
        for name in [name for name in sys.modules if name.startswith("sync_composer")]:
            del sys.modules[name]
        bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        sync_bag_to_db(bag, bundle.name, bundle.version)
        self.dags = dict(bag.dags)
        # The DAG processor's own look for DAGs that their file no longer has. It waits for 50 seconds by default.
        file = DagFileInfo(rel_path=Path("sync_to_bigquery_dags.py"), bundle_name=bundle.name)
        processor = DagFileProcessorManager(max_runs=1, stale_dag_threshold=0)
        processor.deactivate_stale_dags(last_parsed={file: started}, session=session)
        session.commit()
        active = [model.dag_id for model in session.query(DagModel).filter(~DagModel.is_stale)]
        session.close()
        return {
            "dags": {dag.dag_id: sorted(dag.tags) for dag in bag.dags.values()},
            "active": sorted(active),
            "paused_at_first": [dag.dag_id for dag in bag.dags.values() if dag.is_paused_upon_creation is not False],
            "errors": {str(file): str(error) for file, error in bag.import_errors.items()},
        }

    def run(
        self,
        dag_id: str,
        run_type: str = "manual",
        run_id: str = "",
        slot: list[str] | None = None,
        conf: dict[str, Any] | None = None,
        until: str = "",
        seconds: float = 180,
    ) -> dict[str, Any]:
        """Run a DAG to its end, or to that of a task, and return its state and those of its tasks.

        A run of an id that is there already goes on.
        """
        dag = self.dags[dag_id]
        serialized = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        session = settings.Session()
        now = datetime.now(UTC)
        times = [datetime.fromisoformat(each) for each in slot] if slot else None
        run_id = run_id or f"{run_type}__{now.isoformat()}"
        run = session.query(DagRun).filter(DagRun.dag_id == dag_id, DagRun.run_id == run_id).first()
        if run is None:
            run = serialized.create_dagrun(
                run_id=run_id,
                logical_date=times[0] if times else now,
                data_interval=(times[0], times[1]) if times else (now, now),
                run_after=now,
                conf=conf,
                run_type=DagRunType(run_type),
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                start_date=now,
                session=session,
            )
        else:
            run.state, run.start_date = DagRunState.RUNNING, now
        run.dag = serialized
        session.commit()
        deadline, errors = time.monotonic() + seconds, []
        while run.state == DagRunState.RUNNING:
            if time.monotonic() > deadline:
                raise TimeoutError([(each.task_id, each.state) for each in run.get_task_instances(session=session)])
            session.expire_all()
            run.dag = serialized
            ready, _ = run.update_state(session=session)
            for each in ready:
                if each.state != TaskInstanceState.UP_FOR_RESCHEDULE:
                    each.try_number += 1
                each.state = TaskInstanceState.SCHEDULED
            session.commit()
            if not ready:
                time.sleep(0.1)
            for each in ready:
                result = _run_task(ti=each, task=dag.task_dict[each.task_id], run_triggerer=True)
                if result is not None and result.error is not None:
                    errors.append(str(result.error))
            done = run.get_task_instances(session=session, state=[TaskInstanceState.SUCCESS])
            if until in [each.task_id for each in done]:
                break
        tasks = {
            each.task_id + (f"[{each.map_index}]" if each.map_index >= 0 else ""): str(each.state)
            for each in run.get_task_instances(session=session)
        }
        state = str(run.state)
        session.close()
        return {"state": state, "tasks": tasks, "errors": errors}

    def runs(self, dag_id: str) -> list[str]:
        """Return the ids of a DAG's runs."""
        session = settings.Session()
        return sorted(run.run_id for run in session.query(DagRun).filter(DagRun.dag_id == dag_id))


def main() -> None:
    """Answer requests until the input ends."""
    airflow = Airflow()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(airflow, request["do"])(**request["with"])}
        except Exception as error:  # noqa: BLE001 (the test tells it)
            answer = {"error": f"{type(error).__name__}: {error}"}
        ANSWERS.write(json.dumps(answer) + "\n")
        ANSWERS.flush()


if __name__ == "__main__":
    main()
