"""Launch files: one sync written down once, and the requests and commands that launch it by hand or on a schedule.

    python -m sync_pipeline.launching orders.yaml

`launch_file` reads and checks, `requests` makes the bodies of Google's REST APIs, `commands` those of gcloud.
"""
