"""Calls to the outside: single requests, bounded answers, nothing followed."""

import asyncio
import gzip
import re
from pathlib import Path

import pytest

from streamd import cli
from streamd.errors import OutsideUnreachable
from streamd.server.outbound import Outbound
from tests.conftest import DaemonFactory
from tests.functions.targets.webhooks import answer, open_webhook
from tests.functions.waiting import until


async def test_a_request_goes_out_as_it_is_and_its_answer_comes_back() -> None:
    async with Outbound() as outbound, open_webhook(answer(418, b"tea", "X-Kind: green")) as hook:
        found = await outbound.request(
            "PUT", f"{hook.url}/a%2Fb?c=%20", {"x-own": "yes"}, b"body", timeout_s=30, byte_count_max=100
        )

    assert (found.status, found.body, found.headers["x-kind"]) == (418, b"tea", "green")
    assert (hook.heard[0].method, hook.heard[0].target) == ("PUT", "/a%2Fb?c=%20")
    assert (hook.heard[0].headers["x-own"], hook.heard[0].body) == ("yes", b"body")


async def test_a_large_body_goes_out_whole() -> None:
    body = bytes(range(256)) * 20_000
    async with Outbound() as outbound, open_webhook(answer(200)) as hook:
        await outbound.request("POST", hook.url, {}, body, timeout_s=30, byte_count_max=100)

    assert hook.heard[0].body == body
    assert "transfer-encoding" not in hook.heard[0].headers


async def test_a_server_is_trusted_by_the_certificates_that_are_named_for_it(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    assert await asyncio.to_thread(cli.main, ["tls", "init", str(tmp_path)]) == 0
    files = ("--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key"))
    daemon = await asyncio.to_thread(daemon_factory, "--tls-port", "0", *files)
    found = re.search(r"https://\S+:\d+", daemon.log.read_text())
    assert found is not None

    async with Outbound() as outbound:
        trusted = await outbound.request(
            "GET", f"{found[0]}/healthz", {}, b"", timeout_s=30, byte_count_max=10_000, ca=str(tmp_path / "ca.pem")
        )
        with pytest.raises(OutsideUnreachable, match="no answer from https://"):
            await outbound.fetch(f"{found[0]}/healthz", 10_000)

    assert trusted.status == 200


async def test_a_server_that_hangs_takes_some_calls_and_leaves_room_for_others() -> None:
    held: list[asyncio.StreamWriter] = []
    released = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        held.append(writer)
        await released.wait()
        writer.write(answer(200, b"late"))
        writer.close()

    async with Outbound() as outbound, open_webhook(answer(200, b"soon")) as hook, asyncio.TaskGroup() as group:
        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        slow = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        late = [group.create_task(outbound.fetch(slow, 100)) for _ in range(80)]
        await until(lambda: len(held) == 16)
        soon = [await outbound.fetch(hook.url, 100) for _ in range(20)]
        held_count = len(held)
        released.set()

    server.close()
    assert (held_count, soon) == (16, [b"soon"] * 20)
    assert [task.result() for task in late] == [b"late"] * 80


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with Outbound() as outbound, open_webhook(answer(302, b"", "location: http://127.0.0.1:1/")) as hook:
        found = await outbound.request("GET", hook.url, {}, b"", timeout_s=30, byte_count_max=100)

    assert found.status == 302
    assert len(hook.heard) == 1


async def test_an_answer_that_is_too_large_is_refused() -> None:
    async with Outbound() as outbound, open_webhook(answer(200, b"x" * 101)) as hook:
        with pytest.raises(OutsideUnreachable, match="answered with more than 100 bytes"):
            await outbound.fetch(hook.url, 100)


async def test_a_compressed_answer_stays_compressed() -> None:
    packed = gzip.compress(bytes(100_000))
    async with Outbound() as outbound, open_webhook(answer(200, packed, "content-encoding: gzip")) as hook:
        found = await outbound.fetch(hook.url, 1_000)

    assert found == packed


async def test_a_page_that_is_not_there_cannot_be_fetched() -> None:
    async with Outbound() as outbound, open_webhook(answer(404, b"no")) as hook:
        with pytest.raises(OutsideUnreachable, match="answered HTTP 404"):
            await outbound.fetch(f"{hook.url}/key?token=hush", 100)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/?token=hush", "http://", "ftp://127.0.0.1/", "http://a:b/"])
async def test_nobody_there_is_said_without_the_secrets_of_the_address(url: str) -> None:
    async with Outbound() as outbound:
        with pytest.raises(OutsideUnreachable) as caught:
            await outbound.fetch(url, 100)

    assert "hush" not in str(caught.value)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with Outbound() as outbound, open_webhook(b"") as hook:
        with pytest.raises(OutsideUnreachable, match="no answer from"):
            await outbound.request("GET", hook.url, {}, b"", timeout_s=30, byte_count_max=100)


async def test_certificates_that_cannot_be_read_are_no_answer() -> None:
    async with Outbound() as outbound:
        with pytest.raises(OutsideUnreachable, match="No such file"):
            await outbound.request(
                "GET", "https://127.0.0.1:1/", {}, b"", timeout_s=30, byte_count_max=100, ca="/not/there.pem"
            )
