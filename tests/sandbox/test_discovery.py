"""Bodies against Google's discovery documents."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.discovery import read_body


@pytest.mark.parametrize(
    ("given", "read"),
    [
        pytest.param({"launchParameter": {"jobName": "a"}}, None, id="as it is"),
        pytest.param({"launch_parameter": {"job_name": "a"}}, {"launchParameter": {"jobName": "a"}}, id="snake case"),
        pytest.param({"launchParameter": {"jobName": None}}, {"launchParameter": {}}, id="null"),
        pytest.param({"launchParameter": {"environment": {"maxWorkers": "5"}}}, None, id="number as text"),
        pytest.param({"launchParameter": {"parameters": {"any_name": "x"}}}, None, id="map"),
        pytest.param({"launchParameter": {"environment": {"additionalExperiments": ["a"]}}}, None, id="list"),
    ],
)
def test_right_bodies(given: dict[str, Any], read: dict[str, Any] | None) -> None:
    assert read_body("dataflow.v1b3", "LaunchFlexTemplateRequest", given) == (given if read is None else read, [])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"x": 1}, 'Invalid JSON payload received. Unknown name "x": Cannot find field.', id="unknown"),
        pytest.param([], "Invalid value at '' (TYPE_MESSAGE), []", id="no object"),
        pytest.param({"validateOnly": "true"}, "Invalid value at 'validate_only' (TYPE_BOOL), \"true\"", id="boolean"),
        pytest.param(
            {"launchParameter": {"environment": {"diskSizeGb": 2**31}}},
            "Invalid value at 'launch_parameter.environment.disk_size_gb' (TYPE_INT32), 2147483648",
            id="too large",
        ),
        pytest.param(
            {"launchParameter": {"environment": {"ipConfiguration": "PRIVATE"}}},
            "Invalid value at 'launch_parameter.environment.ip_configuration' (TYPE_STRING), \"PRIVATE\"",
            id="enum",
        ),
        pytest.param(
            {"launchParameter": {"environment": {"additionalExperiments": "a"}}},
            "Invalid value at 'launch_parameter.environment.additional_experiments' (TYPE_MESSAGE), \"a\"",
            id="no list",
        ),
    ],
)
def test_wrong_bodies(given: Any, problem: str) -> None:
    assert read_body("dataflow.v1b3", "LaunchFlexTemplateRequest", given)[1] == [problem]
