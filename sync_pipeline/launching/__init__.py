"""Launch files: the definition of one sync, and the requests and commands that launch it once or on a schedule.

    python -m sync_pipeline.launching orders.yaml

`launch_file` reads and checks the file, `requests` builds the bodies for Google's REST APIs, `commands` builds the
shell commands.
"""
