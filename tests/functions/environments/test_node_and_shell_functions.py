"""Functions in Node, by our own client, and bootstraps of their own, by a shell and curl."""

import shutil
from typing import Any

import orjson
import pytest

from tests.functions.environments.plain import Bench

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not on the PATH")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on the PATH")

SHELL = """#!/bin/sh
base="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  head=$(mktemp)
  event=$(curl -sS -D "$head" "$base/invocation/next")
  id=$(grep -i lambda-runtime-aws-request-id "$head" | tr -d '\\r' | cut -d' ' -f2)
  echo "working on $id"
  BODY
done
"""


@needs_node
@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("exports.handler = async (event) => ({ got: event.n });", "app.js"),
        ("export const handler = async (event) => ({ got: event.n });", "app.mjs"),
        (
            "exports.handler = (event, c, callback) => { setImmediate(() => callback(null, { got: event.n })); };",
            "app.js",
        ),
        ("exports.handler = (event, context) => { context.succeed({ got: event.n }); };", "app.js"),
        ("module.exports.handler = function (event) { return { got: event.n }; };", "app.cjs"),
        (
            "const value = await Promise.resolve(0);\nexport const handler = async (e) => ({ got: e.n + value });",
            "app.mjs",
        ),
        ("export default { handler: async (event) => ({ got: event.n }) };", "app.mjs"),
    ],
)
async def test_a_handler_of_any_kind_answers(bench: Bench, source: str, file: str) -> None:
    runnable = bench.node(source, file=file)

    assert [await bench.answer(runnable, {"n": n}) for n in range(3)] == [{"got": n} for n in range(3)]
    assert len(bench.sandbox.cells) == 1


@needs_node
async def test_a_package_that_is_a_module_is_loaded_as_one(bench: Bench) -> None:
    files = {"package.json": '{"type":"module"}', "app.js": "export const handler = async () => 'module';"}
    runnable = bench.runnable(files, runtime="nodejs20.x", handler="app.handler")

    assert await bench.answer(runnable) == "module"


@needs_node
async def test_a_node_handler_that_answers_nothing_answers_null(bench: Bench) -> None:
    assert await bench.answer(bench.node("exports.handler = (event) => { console.log('seen'); };")) is None
    assert await bench.answer(bench.node("exports.handler = async () => {};")) is None


@needs_node
async def test_the_context_of_node_tells_what_aws_would_tell(bench: Bench) -> None:
    source = """exports.handler = async (event, context) => ({
      ...context, left: context.getRemainingTimeInMillis(), log: console.log("hello\\nthere", { a: 1 }),
    });"""
    runnable = bench.node(source, timeout_s=20, version="3")

    finished = await bench.run(runnable, client_context='{"custom":{"a":1}}')

    told = orjson.loads(finished.payload)
    assert finished.error is None, told
    assert (told["awsRequestId"], told["invokedFunctionArn"]) == (finished.request_id, runnable.arn)
    assert (told["functionName"], told["functionVersion"], told["memoryLimitInMB"]) == ("f", "3", "128")
    assert told["clientContext"] == {"custom": {"a": 1}}
    assert 10_000 < told["left"] <= 20_000
    line = next(text for text in bench.logs.texts() if "hello" in text)
    assert line.endswith(f"Z\t{finished.request_id}\tINFO\thello\rthere {{ a: 1 }}")


@needs_node
@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("exports.handler = async () => { throw new TypeError('bad'); };", "TypeError", "bad"),
        ("exports.handler = (e, c, callback) => callback(new RangeError('far'));", "RangeError", "far"),
        ("exports.handler = (e, c, callback) => callback('text');", "string", "text"),
        ("exports.handler = () => { throw new Error('at once'); };", "Error", "at once"),
        ("require('nothing-like-it');", "Runtime.ImportModuleError", "nothing-like-it"),
        ("exports.handler = {;", "Runtime.UserCodeSyntaxError", "SyntaxError"),
        ("exports.other = 1;", "Runtime.HandlerNotFound", "app.handler is undefined or not exported"),
        ("throw new EvalError('early');", "EvalError", "early"),
        ("process.exit(4);", "Runtime.ExitError", "exit status 4"),
    ],
)
async def test_errors_of_node_have_a_type_and_a_message(bench: Bench, source: str, kind: str, message: str) -> None:
    error = await bench.error(bench.node(source))

    assert error["errorType"] == kind
    assert message in error["errorMessage"]


@needs_node
async def test_a_promise_that_nobody_waits_for_ends_the_invocation(bench: Bench) -> None:
    source = """exports.handler = (event, context, callback) => {
      if (!event.fail) return callback(null, "fine");
      Promise.reject(new Error("lost"));
    };"""
    runnable = bench.node(source)

    error = await bench.error(runnable, {"fail": True})

    assert error["errorType"] == "Runtime.UnhandledPromiseRejection"
    assert error["errorMessage"] == "Error: lost"
    assert error["trace"][0] == "Error: lost"
    assert await bench.answer(runnable) == "fine"


@needs_node
async def test_a_node_answer_that_is_too_large_is_an_error(bench: Bench) -> None:
    runnable = bench.node("exports.handler = async (event) => 'x'.repeat(event.size);")

    error = await bench.error(runnable, {"size": 7_000_000})

    assert error["errorType"] == "Function.ResponseSizeTooLarge"
    assert await bench.answer(runnable, {"size": 2}) == "xx"


@needs_curl
async def test_a_bootstrap_of_its_own_answers(bench: Bench) -> None:
    source = SHELL.replace("BODY", 'curl -sS -d "$event" "$base/invocation/$id/response" > /dev/null')
    runnable = bench.shell(source)

    answers = [await bench.answer(runnable, {"n": n}) for n in range(3)]

    assert answers == [{"n": n} for n in range(3)]
    assert sum(text.startswith("working on") for text in bench.logs.texts()) == 3


@needs_curl
async def test_a_bootstrap_may_answer_in_chunks_and_with_an_error(bench: Bench) -> None:
    source = SHELL.replace(
        "BODY",
        'printf %s "$event" | curl -sS -T - -X POST "$base/invocation/$id/$WHAT" > /dev/null',
    )

    answer = await bench.answer(bench.shell(source, variables=(("WHAT", "response"),)), {"n": 1})
    error = await bench.error(bench.shell(source, variables=(("WHAT", "error"),)), {"errorType": "Mine"})

    assert answer == {"n": 1}
    assert error == {"errorType": "Mine"}


@needs_curl
async def test_an_answer_of_seven_megabytes_by_curl_is_refused(bench: Bench) -> None:
    source = SHELL.replace(
        "BODY", 'head -c 7000000 /dev/zero | curl -sS --data-binary @- "$base/invocation/$id/response"; echo'
    )

    error = await bench.error(bench.shell(source))

    assert error["errorType"] == "Function.ResponseSizeTooLarge"


@needs_curl
async def test_what_a_bootstrap_asks_out_of_turn_is_refused(bench: Bench) -> None:
    calls = """ask() { echo "$1=$(curl -sS -o /dev/null -w '%{http_code}' "$@")"; }
  code() { curl -sS -o /dev/null -w '%{http_code} ' "$@" >> "$head.codes"; }
  code "$base/invocation/next"
  code -d x "$base/invocation/wrong/response"
  code -d x "http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension/register"
  code -X PUT -d x "http://$AWS_LAMBDA_RUNTIME_API/2022-07-01/telemetry"
  code "$base/restore/next"
  curl -sS -d "\\"$(cat "$head.codes")\\"" "$base/invocation/$id/response"
  code -d x "$base/invocation/$id/response"
  echo "then $(cat "$head.codes")"
"""
    runnable = bench.shell(SHELL.replace("BODY", calls))

    answer = await bench.answer(runnable)
    await bench.logs.wait_for('{"status":"OK"}')
    await bench.logs.wait_for("then ")

    assert answer == "403 400 404 404 404 "
    assert f"then {answer}400 " in bench.logs.texts()


async def test_a_bootstrap_that_ends_at_once_is_an_exit_error(bench: Bench) -> None:
    error = await bench.error(bench.shell("#!/bin/sh\nexit 127\n"))

    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("Error: Runtime exited with error: exit status 127")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": "#!/bin/sh\n"}, "fork/exec /var/task/bootstrap: permission denied"),
    ],
)
async def test_a_package_without_something_to_start_says_so(bench: Bench, files: Any, sentence: str) -> None:
    error = await bench.error(bench.runnable(files, runtime="provided.al2", handler="any"))

    assert error["errorType"] == "Runtime.InvalidEntrypoint"
    assert error["errorMessage"].endswith(f"Error: {sentence}")
