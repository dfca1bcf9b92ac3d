"""What `check` finds at the source: its secrets, the connection, and the rights on the tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from sync_pipeline.bigquery_api.rights import member
from sync_pipeline.cli.finding import Finding
from sync_pipeline.errors import MissingRightError, SyncError, message_of
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.secrets import Secret, VersionName, secrets_in
from sync_pipeline.printable import named
from sync_pipeline.sources import grants, open_catalog, open_source

_MAX_NAMES = 5


def find_secrets(config: RunConfig) -> Iterator[Finding]:
    """Yield a finding for each secret that cannot be read."""
    secrets = [*secrets_in(config.source), *([config.hash_key] if config.hash_key is not None else [])]
    for secret in secrets:
        try:
            secret.resolve()
        except SyncError as error:
            yield Finding("secret", message_of(error), is_fine=False, commands=_secret_commands(secret, error))


def find_source(config: RunConfig) -> Iterator[Finding]:
    """Yield what is found when the source is connected to."""
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
        commands = grants(config.data_source, config.source, []) if isinstance(error, MissingRightError) else []
        yield Finding("source", message_of(error), is_fine=False, commands=tuple(commands))
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
            yield Finding("rights", f"{text}{then}", is_fine=is_fine, commands=tuple(commands))


def _secret_commands(secret: Secret, error: SyncError) -> tuple[str, ...]:
    """Return what mends a secret that cannot be read."""
    if secret.variable is not None:
        return (f"read -rs {secret.variable} && export {secret.variable}",)
    name = secret.version_name
    if name is None:
        return ()
    # By the class name of Google's error, as `parameters.secrets` words it.
    match type(error.__cause__).__name__:
        case "NotFound":
            variable = secret.parameter.upper()
            create = f"gcloud secrets create {_of(name)} --data-file=-"
            return (f'read -rs {variable} && printf %s "${variable}" | {create}',)
        case "PermissionDenied":
            role = f"--role=roles/secretmanager.secretAccessor --member={member()}"
            return (f"gcloud secrets add-iam-policy-binding {_of(name)} {role}",)
        case _:
            return ()


def _of(name: VersionName) -> str:
    location = f" --location={name.location}" if name.location else ""
    return f"{shlex.quote(name.secret)} --project={shlex.quote(name.project)}{location}"
