"""What a person sees of a run on a terminal."""

from __future__ import annotations

import re
import sys

from tests.integration.syncing import ROOT, Syncing
from tests.on_terminal import run_on_terminal, visible

ROWS = 20_000
# The server computes what is immutable when it plans: half a second for the plan, a second for four chunks of rows.
SLOW_TO_PLAN = "CREATE FUNCTION is_ready() RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT pg_sleep(0.5) IS NOT NULL'"
SLOW = "SELECT id, repeat(name, 8) AS name FROM items WHERE is_ready() AND (id % 200 > 0 OR pg_sleep(0.01) IS NOT NULL)"


def test_a_run(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, name text)")
    syncing.execute(f"INSERT INTO items SELECT n, repeat('x', 99) FROM generate_series(1, {ROWS}) n; ANALYZE items")
    syncing.execute(SLOW_TO_PLAN)
    argv = syncing.argv(primary_key="id", postgresql_query=SLOW)
    exit_code, written = run_on_terminal([sys.executable, str(ROOT / "main.py"), *argv])
    assert exit_code == 0, written
    lines = visible(written)
    assert re.match(r"Merge about [\d,]+ rows \(\d.* KiB\) from PostgreSQL into the new table", lines[0])
    assert f"merged {ROWS:,} rows into {syncing.table_id()} ({ROWS:,} rows read, " in _joined(lines[-2:])
    live = [part.strip("\r\n") for part in written.split("\r\x1b[K\x1b[2m")]
    assert any(part.startswith("planning … 0:0") for part in live), live
    assert any(re.match(r"reading  [\d,]+ (of about [\d,]+ )?rows  [\d,]+ ", part) for part in live), live
    assert any(part.startswith("publishing … 0:0") for part in live), live
    assert not re.search(r"plan:|reading split|staged .*gs://|INFO", "\n".join(lines))
    assert syncing.endpoints.postgresql_password not in written


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)
