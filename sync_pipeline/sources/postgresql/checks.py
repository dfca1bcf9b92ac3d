"""Checks across the parameters of the PostgreSQL source."""

from __future__ import annotations

from collections.abc import Iterator

from sync_pipeline.parameters.hosts import is_alloydb, is_this_machine
from sync_pipeline.parameters.parameter import ParameterValues


def asks(values: ParameterValues) -> Iterator[str]:
    """Yield the parameters of the connection that `init` asks for, by what is given."""
    if "postgresql_instance" not in values.given:
        yield from ("postgresql_host", "postgresql_port")


def contradictions(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each contradiction in the login."""
    host, instance = values["postgresql_host"], values["postgresql_instance"]
    is_cloud_sql = instance is not None and not is_alloydb(instance)
    if instance is not None and host is not None:
        yield "postgresql_host and postgresql_instance are both given: omit one of them"
    if is_cloud_sql:
        both = [name for name in ("postgresql_sslmode", "postgresql_sslrootcert") if name in values.given]
        if both:
            yield f"postgresql_instance provides the certificate to verify the server: omit {' and '.join(both)}"
    if not values["postgresql_iam_login"]:
        return
    if "postgresql_password" in values.given:
        yield "postgresql_iam_login is true, and postgresql_password is given: omit one of them"
    if values["postgresql_require_auth"] != "any":
        yield "postgresql_iam_login is true, and its token does not work with postgresql_require_auth: omit the latter"
    is_weak = values["postgresql_sslmode"] in ("disable", "allow", "prefer")
    if is_weak and not is_cloud_sql and not (host is not None and is_this_machine(host)):
        yield (
            f"postgresql_iam_login is true, and postgresql_sslmode is {values['postgresql_sslmode']}: the token must "
            "not be sent unencrypted; use verify-full or verify-ca with postgresql_sslrootcert, or at least require"
        )
