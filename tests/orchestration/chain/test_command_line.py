"""`run`: the same decisions as the function's, by looking again and again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestration.chain import __main__ as command_line
from tests.orchestration.chain.job_list import RUN, JobList

CHAIN = """
name: nightly
project: my-project
region: us-central1
steps:
  extract: {template: gs://b/t.json, next: [left, right]}
  left: {template: gs://b/t.json, next: join}
  right: {template: gs://b/t.json, next: join, on_failure: alert}
  join: {template: gs://b/t.json}
  alert: {template: gs://b/t.json}
"""


@dataclass
class EndingJobs(JobList):
    """Its jobs end as soon as they are looked for a second time."""

    fails: str = ""

    def launch(self, parameter: object) -> str:
        job_id = super().launch(parameter)  # type: ignore[arg-type]
        step = self.steps[-1]
        self.end(step, "FAILED" if step == self.fails else "DONE")
        return job_id


@pytest.mark.parametrize(
    ("fails", "exit_code", "steps", "last"),
    [
        pytest.param("", 0, ["extract", "left", "right", "join"], f"nightly, run {RUN}: succeeded", id="success"),
        pytest.param(
            "right", 1, ["extract", "left", "right", "alert"], f"nightly, run {RUN}: failed: right", id="failure"
        ),
    ],
)
def test_chain_is_followed_to_its_end(
    fails: str,
    exit_code: int,
    steps: list[str],
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = EndingJobs(fails=fails)
    monkeypatch.setattr(command_line, "Dataflow", lambda _project, _region: jobs)
    (tmp_path / "chain.yaml").write_text(CHAIN)
    words = ["run", str(tmp_path / "chain.yaml"), f"--run={RUN}"]
    assert command_line.main([*words, "--poll-seconds=0"]) == exit_code
    assert jobs.steps == steps
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_run_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chain.yaml").write_text(CHAIN)
    assert command_line.main(["run", str(tmp_path / "chain.yaml"), "--run=today"]) == 2
    assert "--run is 'today': give the time of its start in UTC" in capsys.readouterr().err
