"""Functions in Python, run by the real awslambdaric: answers, errors, timeouts, exits, logs."""

import asyncio
import os
import signal
from pathlib import Path

import orjson
import pytest
import uvloop

from streamd.functions.environments.output import TAIL_BYTE_COUNT_MAX
from streamd.functions.environments.runtimes import Runtimes
from tests.functions.environments.plain import Bench, open_bench

ECHO = "def handler(event, context):\n    return event\n"
COUNTING = """
import os, tempfile
count = 0
def handler(event, context):
    global count
    count += 1
    place = os.path.join(tempfile.gettempdir(), "kept")
    before = open(place).read() if os.path.exists(place) else ""
    open(place, "w").write(before + "x")
    if event.get("hang"):
        while True: pass
    if "exit" in event: os._exit(event["exit"])
    if "signal" in event: os.kill(os.getpid(), event["signal"])
    return [count, before]
"""


async def test_a_handler_gets_its_event_and_its_answer_comes_back(bench: Bench) -> None:
    runnable = bench.python(ECHO)

    answers = [await bench.answer(runnable, {"n": n, "text": "söme"}) for n in range(5)]

    assert answers == [{"n": n, "text": "söme"} for n in range(5)]
    assert len(bench.sandbox.cells) == 1


async def test_only_the_invocation_that_met_a_cold_start_has_an_init(bench: Bench) -> None:
    runnable = bench.python(ECHO, memory_mb=256)

    first, second = await bench.run(runnable), await bench.run(runnable)

    assert first.init_ms is not None
    assert first.init_ms > 0
    assert first.billed_ms >= first.init_ms
    assert second.init_ms is None
    assert second.billed_ms < first.billed_ms
    assert second.memory_peak_mb > 3
    assert second.memory_mb == 256


async def test_the_context_tells_what_aws_would_tell(bench: Bench) -> None:
    source = """
import os
def handler(event, context):
    return {
        "id": context.aws_request_id, "arn": context.invoked_function_arn, "name": context.function_name,
        "version": context.function_version, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
        "stream": context.log_stream_name, "left": context.get_remaining_time_in_millis(),
        "custom": context.client_context.custom, "role": os.environ["AWS_SESSION_TOKEN"],
        "own": os.environ["OWN"], "region": os.environ["AWS_REGION"],
        "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
        "max": "AWS_LAMBDA_MAX_CONCURRENCY" in os.environ, "trace": os.environ["_X_AMZN_TRACE_ID"],
    }
"""
    runnable = bench.python(
        source, version="7", role="the-role", timeout_s=20, variables=(("OWN", "mine"), ("AWS_REGION", "not-mine"))
    )

    finished = await bench.run(runnable, client_context='{"custom":{"a":"b"}}')

    told = orjson.loads(finished.payload)
    assert finished.error is None, told
    assert told["id"] == finished.request_id
    assert (told["arn"], told["name"], told["version"]) == (runnable.arn, "f", "7")
    assert (told["memory"], told["group"]) == ("128", "/aws/lambda/f")
    assert told["stream"] == bench.logs.lines[0].stream
    assert "/[7]" in told["stream"]
    assert 10_000 < told["left"] <= 20_000
    assert told["custom"] == {"a": "b"}
    assert (told["role"], told["own"], told["region"], told["type"]) == (
        "the-role", "mine", "us-east-1", "on-demand",
    )  # fmt: skip
    assert told["max"] is False
    assert told["trace"].startswith("Root=1-")


async def test_a_context_of_several_lines_and_letters_arrives_as_it_was(bench: Bench) -> None:
    runnable = bench.python("def handler(event, context):\n    return context.client_context.custom\n")

    answer = await bench.answer(runnable, client_context='{"custom":\r\n{"a": "ü\\n€"}}')

    assert answer == {"a": "ü\n€"}


async def test_a_function_sees_nothing_of_what_streamd_is_made_of(bench: Bench) -> None:
    source = """
import importlib.util, sys
def handler(event, context):
    names = ["aiohttp", "lmdb", "streamd", "orjson", "awslambdaric", "simplejson"]
    return [name for name in names if importlib.util.find_spec(name)], callable(exit), sys.path[0]
"""
    runnable = bench.python(source)

    seen, has_exit, first = await bench.answer(runnable)

    assert seen == ["awslambdaric", "simplejson"]
    assert has_exit
    assert first == str(runnable.code)


async def test_what_a_handler_raises_is_its_error(bench: Bench) -> None:
    runnable = bench.python("def handler(event, context):\n    raise ValueError('bad record')\n")

    error = await bench.error(runnable)
    again = await bench.error(runnable)

    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "bad record")
    assert "raise ValueError" in error["stackTrace"][0]
    assert again["errorType"] == "ValueError"
    assert len(bench.sandbox.cells) == 1


async def test_after_a_timeout_globals_are_gone_and_scratch_is_kept(bench: Bench) -> None:
    runnable = bench.python(COUNTING, timeout_s=1)
    assert await bench.answer(runnable) == [1, ""]
    assert await bench.answer(runnable) == [2, "x"]

    late = await bench.run(runnable, {"hang": True})

    document = orjson.loads(late.payload)
    assert document["errorType"] == "Sandbox.Timedout"
    assert document["errorMessage"] == f"RequestId: {late.request_id} Error: Task timed out after 1.00 seconds"
    assert late.duration_ms >= 1000
    assert b"Task timed out after 1.00 seconds" in late.log_tail
    assert await bench.answer(runnable) == [1, "xxx"]


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"exit": 0}, "Runtime exited without providing a reason"),
        ({"exit": 1}, "Runtime exited with error: exit status 1"),
        ({"signal": signal.SIGKILL}, "Runtime exited with error: signal: killed"),
        ({"signal": signal.SIGSEGV}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
async def test_how_a_process_ended_is_told(bench: Bench, event: dict[str, int], sentence: str) -> None:
    runnable = bench.python(COUNTING)
    await bench.answer(runnable)

    ended = await bench.run(runnable, event)

    document = orjson.loads(ended.payload)
    assert document == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {ended.request_id} Error: {sentence}",
    }
    assert "Status: error\tError Type: Runtime.ExitError" in ended.log_tail.decode()
    assert await bench.answer(runnable) == [1, "xx"]


async def test_a_process_that_dies_between_invocations_is_not_noticed(bench: Bench) -> None:
    source = """
import os, threading
def handler(event, context):
    if event.get("die"):
        threading.Timer(0.05, os._exit, [3]).start()
    return os.getpid()
"""
    runnable = bench.python(source)
    first = await bench.answer(runnable, {"die": True})
    await bench.sandbox.cells[0].child.wait()

    second = await bench.answer(runnable)

    assert first != second


async def test_an_answer_of_more_than_six_megabytes_is_an_error(bench: Bench) -> None:
    runnable = bench.python("def handler(event, context):\n    return 'x' * event['size']\n")

    fits = await bench.run(runnable, {"size": 6_000_000})
    error = await bench.error(runnable, {"size": 7_000_000})

    assert len(fits.payload) == 6_000_002
    assert error == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert await bench.answer(runnable, {"size": 1}) == "x"


async def test_an_event_of_six_megabytes_arrives_whole(bench: Bench) -> None:
    runnable = bench.python("def handler(event, context):\n    return len(event['text'])\n")

    assert await bench.answer(runnable, {"text": "y" * 6_200_000}) == 6_200_000


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("import nothing_like_it\n", "Runtime.ImportModuleError", "No module named 'nothing_like_it'"),
        ("def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("other = 1\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("raise KeyError('early')\n", "KeyError", "early"),
        ("import os\nos._exit(5)\n", "Runtime.ExitError", "exit status 5"),
        ("import sys\nsys.exit()\n", "Runtime.ExitError", "without providing a reason"),
    ],
)
async def test_a_function_that_cannot_begin_says_why_each_time(
    bench: Bench, source: str, kind: str, message: str
) -> None:
    runnable = bench.python(source)

    errors = [await bench.error(runnable) for _ in range(2)]

    assert [error["errorType"] for error in errors] == [kind, kind]
    assert message in errors[0]["errorMessage"]


async def test_a_slow_init_begins_anew_within_the_first_invocation(tmp_path: Path, runtimes: Runtimes) -> None:
    # The first process sleeps for longer than it may; the second one, in the same environment, knows better.
    source = """
import os, tempfile, time
place = os.path.join(tempfile.gettempdir(), "seen")
if not os.path.exists(place):
    open(place, "w").close()
    time.sleep(60)
def handler(event, context):
    return "there"
"""
    async with open_bench(tmp_path, runtimes, init_limit_s=0.5) as bench:
        finished = await bench.run(bench.python(source))

    assert orjson.loads(finished.payload) == "there"
    assert finished.init_ms is None
    assert any("INIT_REPORT" in text and "Status: timeout" in text for text in bench.logs.texts())


async def test_the_log_is_written_as_on_aws(bench: Bench) -> None:
    source = """
import logging
print("at import")
def handler(event, context):
    print("one\\ntwo")
    logging.warning("warned")
    print("no end", end="")
"""
    finished = await bench.run(bench.python(source))

    request_id = finished.request_id
    texts = bench.logs.texts()
    assert texts[0].startswith("INIT_START Runtime Version: python:3.11.streamd\tRuntime Version ARN: arn:aws:lambda:")
    assert texts[1:5] == ["at import", f"START RequestId: {request_id} Version: $LATEST", "one", "two"]
    assert texts[5].startswith("[WARNING]\t")
    assert texts[5].endswith(f"Z\t{request_id}\twarned")
    assert texts[6:8] == ["no end", f"END RequestId: {request_id}"]
    assert texts[8] == (
        f"REPORT RequestId: {request_id}\tDuration: {finished.duration_ms:.2f} ms\t"
        f"Billed Duration: {finished.billed_ms} ms\tMemory Size: 128 MB\t"
        f"Max Memory Used: {finished.memory_peak_mb} MB\tInit Duration: {finished.init_ms:.2f} ms\t"
    )
    assert [line.request_id for line in bench.logs.lines] == ["", ""] + [request_id] * 7
    assert finished.log_tail.decode() == "".join(f"{text}\n" for text in texts[2:])


async def test_a_log_in_json_is_json_line_by_line(bench: Bench) -> None:
    source = """
import logging
def handler(event, context):
    logging.warning("warned")
    raise ValueError("bad")
"""
    finished = await bench.run(bench.python(source, log_format="JSON", log_level="INFO"))

    lines = [orjson.loads(line.text) for line in bench.logs.lines]
    assert [line.get("type") for line in lines] == [
        "platform.initStart",
        "platform.start",
        None,
        None,
        "platform.report",
    ]
    assert lines[1]["record"] == {"requestId": finished.request_id, "version": "$LATEST"}
    assert (lines[2]["level"], lines[2]["message"], lines[2]["requestId"]) == ("WARNING", "warned", finished.request_id)
    assert lines[4]["record"]["status"] == "error"
    assert lines[4]["record"]["metrics"]["billedDurationMs"] == finished.billed_ms


async def test_framed_records_keep_their_lines_together(tmp_path: Path, runtimes: Runtimes) -> None:
    source = """
import logging
def handler(event, context):
    logging.getLogger().setLevel("INFO")
    logging.info("first\\nsecond")
    raise ValueError("bad")
"""
    async with open_bench(tmp_path, runtimes, has_telemetry=True) as bench:
        finished = await bench.run(bench.python(source))
        texts = bench.logs.texts()

    record = next(text for text in texts if "first" in text)
    assert record.endswith("first\nsecond")
    assert any(text.startswith("[ERROR] ValueError: bad\nTraceback") for text in texts)
    assert texts[-1].startswith("REPORT")
    assert b"second\n" in finished.log_tail


async def test_the_tail_of_a_log_is_four_kilobytes_at_most(bench: Bench) -> None:
    runnable = bench.python("def handler(event, context):\n    for n in range(2000): print('line', n)\n")

    finished = await bench.run(runnable)

    assert len(finished.log_tail) == TAIL_BYTE_COUNT_MAX
    assert b"line 1999\nEND" in finished.log_tail


async def test_a_gigabyte_of_printing_is_cut_and_stops_nobody(bench: Bench) -> None:
    source = """
import os
def handler(event, context):
    piece = (b"y" * 99 + b"\\n") * 10_000
    for _ in range(1000): os.write(1, piece)
"""
    flood = bench.python(source, timeout_s=120)
    quiet = bench.python(ECHO, name="quiet")
    flooding = asyncio.ensure_future(bench.run(flood))

    answers = 0
    while not flooding.done():
        await bench.answer(quiet)
        answers += 1

    finished = await flooding
    kept = sum(len(line.text) for line in bench.logs.lines if line.function == "f")
    assert finished.error is None
    assert answers > 10
    assert kept < 200_000_000
    assert any("were not kept" in text for text in bench.logs.texts())


async def test_a_line_without_an_end_is_cut_in_pieces(bench: Bench) -> None:
    finished = await bench.run(bench.python("def handler(event, context):\n    print('z' * 600_000)\n"))

    lengths = [len(line.text) for line in bench.logs.lines if line.text.startswith(b"zz")]
    assert finished.error is None
    assert lengths == [262_144, 262_144, 75_712]


async def test_powertools_tells_which_records_failed(bench: Bench) -> None:
    package = pytest.importorskip("aws_lambda_powertools")
    site = Path(package.__file__).parent.parent
    source = """
import base64
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
def one(record):
    if record.kinesis.data_as_text() == "bad": raise ValueError("bad")
def handler(event, context):
    return process_partial_response(event=event, record_handler=one, processor=processor, context=context)
"""
    runnable = bench.python(source, variables=(("PYTHONPATH", str(site)), ("POWERTOOLS_TRACE_DISABLED", "1")))
    template = {
        "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventName": "aws:kinesis:record",
        "awsRegion": "us-east-1",
        "invokeIdentityArn": "arn", "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
    }  # fmt: skip

    def record(number: int, data: str) -> dict[str, object]:
        kinesis = {
            "kinesisSchemaVersion": "1.0", "partitionKey": "k", "sequenceNumber": str(number), "data": data,
            "approximateArrivalTimestamp": 1.0,
        }  # fmt: skip
        return {**template, "eventID": f"shardId-000000000000:{number}", "kinesis": kinesis}

    answer = await bench.answer(runnable, {"Records": [record(1, "Z29vZA=="), record(2, "YmFk")]})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}


async def test_closing_with_an_invocation_in_hand_leaves_no_process(tmp_path: Path, runtimes: Runtimes) -> None:
    async with open_bench(tmp_path, runtimes) as bench:
        runnable = bench.python(COUNTING)
        running = asyncio.ensure_future(bench.run(runnable, {"hang": True}))
        await bench.logs.wait_for("START")
        await bench.environments.close(patience_s=0.0)

        assert not bench.alive()
        with pytest.raises(Exception, match="was ended"):
            await running
    assert len(bench.sandbox.released) == 1
    assert not list((tmp_path / "scratch").iterdir())


async def test_a_caller_that_leaves_does_not_stop_the_function(bench: Bench) -> None:
    source = """
import os, tempfile, time
def handler(event, context):
    place = os.path.join(tempfile.gettempdir(), "done")
    if event.get("ask"): return os.path.exists(place)
    print("going", flush=True)
    time.sleep(0.2)
    open(place, "w").close()
"""
    runnable = bench.python(source)
    leaving = asyncio.ensure_future(bench.run(runnable))
    await bench.logs.wait_for("going")

    leaving.cancel()
    await bench.logs.wait_for("REPORT")

    assert await bench.answer(runnable, {"ask": True}) is True
    assert os.getpid() not in bench.alive()
    assert len(bench.sandbox.cells) == 1


def test_everything_runs_on_the_loop_of_the_daemon_too(tmp_path: Path, runtimes: Runtimes) -> None:
    async def on_uvloop() -> None:
        async with open_bench(tmp_path, runtimes) as bench:
            runnable = bench.python(COUNTING, timeout_s=1)
            assert await bench.answer(runnable) == [1, ""]
            assert (await bench.error(runnable, {"hang": True}))["errorType"] == "Sandbox.Timedout"
            assert (await bench.error(runnable, {"exit": 1}))["errorType"] == "Runtime.ExitError"
            assert (await bench.error(bench.python("import nothing_like_it")))["errorType"]
            assert await bench.answer(runnable) == [1, "xxx"]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(on_uvloop())
