"""The facts that the Lambda dialect holds requests against are those of AWS's newest service model."""

import pytest

from streamd.functions.faults import Fault
from streamd.functions.model import load_model
from tests.functions.model_page import PAGE, lines_of, page_of_model


def test_the_page_says_what_the_service_model_says() -> None:
    assert PAGE.read_bytes() == lines_of(page_of_model()), "write it anew: python -m tests.functions.model_page"


@pytest.mark.parametrize(
    ("method", "path", "query", "operation", "parts"),
    [
        ("POST", "/2015-03-31/functions", {}, "CreateFunction", {}),
        ("POST", "/2015-03-31/functions/", {}, "CreateFunction", {}),
        ("GET", "/2015-03-31/functions/f", {}, "GetFunction", {"FunctionName": "f"}),
        ("GET", "/2018-10-31/layers", {}, "ListLayers", {}),
        ("GET", "/2018-10-31/layers", {"find": ["LayerVersion"]}, "GetLayerVersionByArn", {}),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            {"List": ["ALL"]},
            "ListProvisionedConcurrencyConfigs",
            {"FunctionName": "f"},
        ),
        (
            "GET",
            "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af",
            {},
            "ListTags",
            {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f"},
        ),
    ],
)
def test_a_request_is_found_by_method_path_and_fixed_query(
    method: str, path: str, query: dict[str, list[str]], operation: str, parts: dict[str, str]
) -> None:
    found = load_model().find(method, path, query)

    assert found is not None
    assert (found[0].name, found[1]) == (operation, parts)


def test_a_path_of_no_operation_is_not_found() -> None:
    assert load_model().find("GET", "/2015-03-31/nothing", {}) is None
    assert load_model().find("PATCH", "/2015-03-31/functions", {}) is None


def test_members_come_from_path_query_headers_and_body() -> None:
    operation = load_model().operations["ListVersionsByFunction"]

    members = operation.members({"FunctionName": "f"}, {"MaxItems": ["7"], "Marker": ["m"]}, {}, {})

    assert members == {"FunctionName": "f", "MaxItems": 7, "Marker": "m"}


def test_a_broken_bound_is_told_in_the_words_of_the_service() -> None:
    operation = load_model().operations["ListFunctions"]

    with pytest.raises(Fault) as caught:
        operation.members({}, {"MaxItems": ["0"]}, {}, {})

    assert caught.value.document == {
        "message": "1 validation error detected: Value '0' at 'maxItems' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1"
    }
