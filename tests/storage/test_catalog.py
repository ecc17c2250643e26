"""The catalog: documents change by compare-and-set, and a version is never given twice."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.errors import CatalogConflict
from tests.storage.stores import open_bench


async def test_a_document_is_made_read_changed_and_removed(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        made = await bench.store.compare_and_set("stream/a", b"one", expected=None)
        changed = await bench.store.compare_and_set("stream/a", b"two", expected=made)
        document = await bench.store.get("stream/a")
        await bench.store.compare_and_set("stream/a", None, expected=changed)

        assert document is not None
        assert (document.key, document.version, document.content) == ("stream/a", changed, b"two")
        assert await bench.store.get("stream/a") is None
        assert await bench.store.version("stream/a") is None


async def test_a_change_on_a_version_that_passed_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        made = await bench.store.compare_and_set("a", b"one", expected=None)
        changed = await bench.store.compare_and_set("a", b"two", expected=made)

        for stale in (None, made, changed + 1):
            with pytest.raises(CatalogConflict):
                await bench.store.compare_and_set("a", b"three", expected=stale)
        with pytest.raises(CatalogConflict):
            await bench.store.compare_and_set("b", b"three", expected=made)

        document = await bench.store.get("a")
        assert document is not None
        assert (document.version, document.content) == (changed, b"two")
        assert await bench.store.get("b") is None


async def test_a_document_that_was_removed_and_made_again_has_a_version_it_never_had(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        made = await bench.store.compare_and_set("a", b"one", expected=None)
        await bench.store.compare_and_set("a", None, expected=made)
    async with open_bench(tmp_path / "data") as bench:
        again = await bench.store.compare_and_set("a", b"one", expected=None)

        assert again > made
        with pytest.raises(CatalogConflict):
            await bench.store.compare_and_set("a", b"two", expected=made)


async def test_of_many_that_race_for_one_version_exactly_one_wins(tmp_path: Path) -> None:
    async with open_bench(tmp_path / "data") as bench:
        made = await bench.store.compare_and_set("a", b"start", expected=None)

        outcomes = await asyncio.gather(
            *(bench.store.compare_and_set("a", b"%d" % place, expected=made) for place in range(20)),
            return_exceptions=True,
        )

        won = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, int)]
        assert len(won) == 1
        assert all(isinstance(o, CatalogConflict) for place, o in enumerate(outcomes) if place not in won)
        document = await bench.store.get("a")
        assert document is not None
        assert document.content == b"%d" % won[0]


@settings(deadline=None, max_examples=30)
@given(names=st.sets(st.text("ab/-é", min_size=1, max_size=4), max_size=12), limit=st.integers(1, 5), data=st.data())
def test_scanning_gives_every_key_once_and_in_order(
    names: set[str], limit: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def scan_in_pages() -> tuple[list[str], list[str]]:
        async with open_bench(tmp_path_factory.mktemp("scan") / "data") as bench:
            for name in [*names, ""]:
                await bench.store.compare_and_set(f"other{name}", b"", expected=None)
            await asyncio.gather(*(bench.store.compare_and_set(f"s/{name}", b"", expected=None) for name in names))
            after = data.draw(st.sampled_from(["", *sorted(names), "a", "zz"]))
            pages: list[str] = []
            while page := await bench.store.scan("s/", after=pages[-1] if pages else after, limit=limit):
                assert len(page) <= limit
                pages += page
            return pages, [name for name in sorted(names, key=str.encode) if name > after]

    found, expected = asyncio.run(scan_in_pages())

    assert found == expected
