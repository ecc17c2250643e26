"""What is said to DynamoDB on the wire, where moto is more lenient than AWS."""

from streamd.core.lease import TRIM_HORIZON, Start
from streamd.sdk.client import Credentials
from streamd.sdk.leases_dynamodb import DynamoDBLeases
from tests.cli.scripted_server import ScriptedServer

__all__: list[str] = []


async def test_requests_speak_the_json_of_dynamodb_and_not_that_of_kinesis(scripted: ScriptedServer) -> None:
    scripted.will_answer("DescribeTable", {"Table": {"TableStatus": "ACTIVE"}})
    scripted.will_answer("PutItem", {})

    keys = Credentials("AKIAEXAMPLE", "secret-for-tests-only")
    async with DynamoDBLeases(endpoint=scripted.url, region="eu-north-1", credentials=keys) as leases:
        await leases.open_group("orders", "billing", start=Start(place=TRIM_HORIZON))

    assert [asked.operation for asked in scripted.asked] == ["DescribeTable", "PutItem"]
    for asked in scripted.asked:
        # AWS answers any other content type with 404 and UnknownOperationException.
        assert asked.headers["Content-Type"] == "application/x-amz-json-1.0"
        assert asked.headers["X-Amz-Target"] == f"DynamoDB_20120810.{asked.operation}"
        assert "/eu-north-1/dynamodb/aws4_request" in asked.headers["Authorization"]
