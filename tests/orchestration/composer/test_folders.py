"""Folders of manifests, and the command that checks one."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.composer.__main__ import main
from orchestration.composer.sync_composer.folders import read_manifests

ROOT = Path(__file__).parents[3]
ROLLOUT = "{rollout: orders, version: '1', launch_file: orders.yaml, strategy: restart}"
SCHEDULE = "{schedule: orders, rollout: orders, cron: 0 2 * * *}"
LAUNCH = (ROOT / "examples" / "users-every-2-hours.yaml").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "orders.rollout.yaml").write_text(ROLLOUT)
    (tmp_path / "orders.schedule.yaml").write_text(SCHEDULE)
    (tmp_path / "orders.yaml").write_text(LAUNCH)
    return tmp_path


def test_the_examples_have_no_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(ROOT / "examples" / "composer")]) == 0
    assert capsys.readouterr().out == "1 rollouts and 1 schedules have no mistakes\n"


def test_all_mistakes_are_told_with_their_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "orders.yaml").write_text(LAUNCH.replace("data_source: postgresql", "data_source: mysql"))
    (folder / "orders.rollout.yaml").write_text(ROLLOUT.replace("restart", "restart, overrides: {parameters: {a: b}}"))
    (folder / "bills.schedule.yaml").write_text("{schedule: bills, rollout: bill, cron: 0 2 * * *}")
    (folder / "lost.schedule.yaml").write_text("{schedule: lost, launch_file: lost.yaml, cron: 0 2 * * *}")
    assert main(["check", str(folder)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ", 2)[1] for line in told] == [
        "orders.rollout.yaml",
        "orders.rollout.yaml",
        "bills.schedule.yaml",
        "lost.schedule.yaml",
    ]
    assert [line for line in told if "a is not a parameter of this template" in line]
    assert [line for line in told if "data_source" in line]
    assert told[2].endswith("rollout is 'bill': there is no rollout manifest of that name; give one, or launch_file")
    assert told[3].endswith("launch_file is 'lost.yaml', and there is no lost.yaml: give a path from here")


def test_a_secret_in_a_launch_file_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "projects/my-project/secrets/postgresql-password/versions/latest"
    (folder / "orders.yaml").write_text(LAUNCH.replace(secret, "hunter2"))
    assert main(["check", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "postgresql_password is not the name of a secret" in told
    assert "hunter2" not in told


def test_two_manifests_of_one_name(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "orders.schedule.yaml").write_text(SCHEDULE)
    assert read_manifests(str(folder)).problems() == [
        f"{path}: more/orders.schedule.yaml, orders.schedule.yaml have one name: give each a name of its own"
        for path in ("more/orders.schedule.yaml", "orders.schedule.yaml")
    ]


def test_launch_files_of_another_folder(folder: Path) -> None:
    (folder / "manifests").mkdir()
    for name in ("orders.rollout.yaml", "orders.schedule.yaml"):
        (folder / name).rename(folder / "manifests" / name)
    (folder / "manifests" / "orders.rollout.yaml").write_text(ROLLOUT.replace("orders.yaml", "../orders.yaml"))
    manifests = read_manifests(str(folder))
    assert manifests.problems() == []
    assert manifests.rollouts[0].launch is not None
    assert manifests.rollouts[0].launch.job_name == "users-sync"


def test_a_folder_that_is_not_there_is_no_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a bucket that cannot be reached would unschedule everything."""
    with pytest.raises(NotADirectoryError):
        read_manifests(str(tmp_path / "absent"))
    assert main(["check", str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.endswith("is not a folder: give the folder of the manifests\n")
