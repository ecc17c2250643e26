"""Layers, with boto3 against a real daemon."""

import urllib.request
from typing import Any

from tests.functions.lambdas import deploy, package
from tests.functions.refused import refusal_of

ACCOUNT = "arn:aws:lambda:us-east-1:000000000000"


def test_versions_of_a_layer_are_published_told_listed_and_deleted(functions: Any, name: str) -> None:
    content = package("shared = 1\n", "python/shared.py")

    first = functions.publish_layer_version(
        LayerName=name, Content={"ZipFile": content}, Description="d", CompatibleRuntimes=["python3.11"]
    )
    second = functions.publish_layer_version(LayerName=name, Content={"ZipFile": content})

    assert first["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert first["LayerVersionArn"] == f"{ACCOUNT}:layer:{name}:1"
    assert first["LayerArn"] == f"{ACCOUNT}:layer:{name}"
    assert first["CompatibleRuntimes"] == ["python3.11"]
    assert second["Version"] == 2
    told = functions.get_layer_version(LayerName=name, VersionNumber=1)
    with urllib.request.urlopen(told["Content"]["Location"], timeout=10) as answer:
        assert answer.read() == content
    assert functions.get_layer_version_by_arn(Arn=first["LayerVersionArn"])["Description"] == "d"
    assert [each["Version"] for each in functions.list_layer_versions(LayerName=name)["LayerVersions"]] == [2, 1]
    newest = {each["LayerName"]: each["LatestMatchingVersion"] for each in functions.list_layers()["Layers"]}
    assert newest[name]["Version"] == 2
    functions.delete_layer_version(LayerName=name, VersionNumber=2)
    functions.delete_layer_version(LayerName=name, VersionNumber=2)
    assert functions.publish_layer_version(LayerName=name, Content={"ZipFile": content})["Version"] == 3
    assert refusal_of(functions.get_layer_version, LayerName=name, VersionNumber=2).status == 404


def test_a_function_tells_of_its_layers(functions: Any, name: str) -> None:
    content = package("shared = 1\n", "python/shared.py")
    layer = functions.publish_layer_version(LayerName=name, Content={"ZipFile": content})["LayerVersionArn"]

    deploy(functions, name, Layers=[layer])

    told = functions.get_function_configuration(FunctionName=name)["Layers"]
    assert told == [{"Arn": layer, "CodeSize": len(content)}]
    doubled = refusal_of(functions.update_function_configuration, FunctionName=name, Layers=[layer, layer])
    assert doubled.code == "InvalidParameterValueException"
