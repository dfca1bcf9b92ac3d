"""Which refusals of BigQuery the sandbox enforces; the rules themselves are in the modules `bigquery_rules_*`.

A rule refuses what Google's documentation says is refused, in the service's own words. SANDBOX_BIGQUERY_RULES_OFF names
the rules that are off, separated by commas; an empty value switches all of them on.
"""

import os

# Rules that the product does not obey yet.
NOT_YET = frozenset[str]()

RULES = {
    "transaction_ddl": "DDL on permanent tables inside a transaction",
}


def rules_off() -> frozenset[str]:
    """Return the names of the rules that are off; raise ValueError for one that does not exist."""
    given = os.environ.get("SANDBOX_BIGQUERY_RULES_OFF")
    names = NOT_YET if given is None else frozenset(name.strip() for name in given.split(",") if name.strip())
    if unknown := names - RULES.keys():
        raise ValueError(f"SANDBOX_BIGQUERY_RULES_OFF: no rule is called {', '.join(sorted(unknown))}")
    return names


_OFF = rules_off()


def enforced(rule: str) -> bool:
    """Say whether the rule of that name is on."""
    assert rule in RULES, rule
    return rule not in _OFF
