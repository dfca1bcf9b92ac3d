"""Launch files: the definition of one sync, and the requests and commands that launch it once or on a schedule.

    python -m sync_pipeline.launching orders.yaml

`launch_file` reads and checks the file, with `settings` for its machines and network, and
`schedule` for its schedule. `requests` builds the bodies for Google's REST APIs, `commands` builds the shell commands.
"""
