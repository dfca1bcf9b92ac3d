"""The DAG file, for Composer's DAGs folder, together with `sync_composer`. Airflow skips files without its name.

`SYNC_MANIFESTS` is the folder of the manifests, or gs://BUCKET/FOLDER; by default `sync_manifests` beside this file,
which all of Composer's components have. `SYNC_POLL_SECONDS` is the time between two looks at a job.
"""

import os
from pathlib import Path

from sync_composer.dags import dags_in

globals().update(
    dags_in(
        os.environ.get("SYNC_MANIFESTS") or str(Path(__file__).with_name("sync_manifests")),
        poll_seconds=int(os.environ.get("SYNC_POLL_SECONDS", "60")),
    )
)
