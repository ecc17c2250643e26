"""A daemon whose data directory is named relatively, as the default one is, runs functions in each kind of sandbox."""

import json
import os
import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from tests.conftest import DaemonFactory
from tests.functions.lambdas import deploy, lambda_client, package

__all__: list[str] = []

_LAYERED = "import shared_layer\ndef handler(event, context):\n    return [event, shared_layer.value]\n"


@pytest.mark.parametrize(
    "sandbox",
    [
        pytest.param(
            "bwrap", marks=pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
        ),
        pytest.param("process", marks=pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")),
        "off",
    ],
)
def test_a_function_and_its_layer_are_found(daemon_factory: DaemonFactory, tmp_path: Path, sandbox: str) -> None:
    with chdir(tmp_path):
        client = lambda_client(daemon_factory("--function-sandbox", sandbox, data=Path("data")))
    content = {"ZipFile": package("value = 42\n", "python/shared_layer.py")}
    layer = client.publish_layer_version(LayerName="shared", Content=content)["LayerVersionArn"]

    deploy(client, "seen", _LAYERED, Layers=[layer])
    answer = client.invoke(FunctionName="seen", Payload=b"1")

    assert json.loads(answer["Payload"].read()) == [1, 42]
    assert "FunctionError" not in answer
