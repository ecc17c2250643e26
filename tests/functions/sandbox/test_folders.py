"""The folders of a cell: what stays, what goes, and how layers lie over each other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamd.errors import ConfigInvalid
from streamd.functions.sandbox.layering import merged
from streamd.functions.sandbox.probe import choose
from tests.functions.sandbox.cell_bench import CellBench, has_mounts

_WRITE = "import os\nopen(os.environ.get('TMPDIR', '/tmp') + '/kept', 'w').write('as it was')\n"
_READ = "import os\nprint(open(os.environ.get('TMPDIR', '/tmp') + '/kept').read())\n"


async def test_a_cell_that_follows_finds_the_scratch_folder_as_it_was(bench: CellBench) -> None:
    await bench.run(bench.plan(_WRITE))

    _, printed = await bench.run(bench.plan(_READ))

    assert printed == "as it was\n"


async def test_a_new_scratch_folder_is_empty(bench: CellBench) -> None:
    await bench.run(bench.plan(_WRITE, scratch="one"))

    ended, _ = await bench.run(bench.plan(_READ, scratch="two"))

    assert ended.status == 1


async def test_what_is_mounted_is_seen_by_cells_only(walled: CellBench) -> None:
    if not has_mounts(walled):
        pytest.skip("no file system may be mounted here")

    await walled.run(walled.plan(_WRITE, scratch="one"))

    # So whoever removes the data of a daemon that was killed meets no mounted folder.
    assert _mounted(walled.folder) == []
    assert list((walled.folder / "functions" / "cells" / "one").iterdir()) == []


async def test_layers_lie_over_each_other(bwrap: CellBench) -> None:
    first, second = bwrap.folder / "first", bwrap.folder / "second"
    for layer, names in ((first, ("python/a.py", "python/both.py", "bin/x")), (second, ("python/both.py", "lib/y"))):
        for name in names:
            (layer / name).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            (layer / name).write_text(layer.name)
    code = """
import os
for place, _, names in sorted(os.walk("/opt")):
    for name in sorted(names):
        print(place + "/" + name, open(place + "/" + name).read())
"""

    _, printed = await bwrap.run(bwrap.plan(code, layers=(first, second)))

    assert printed.splitlines() == [
        "/opt/bin/x first",
        "/opt/lib/y second",
        "/opt/python/a.py first",
        "/opt/python/both.py second",
    ]


def test_one_layer_is_shown_as_it_is(tmp_path: Path) -> None:
    assert list(merged([tmp_path], "/opt")) == ["--ro-bind", str(tmp_path), "/opt"]


def test_a_tier_that_does_not_work_is_refused_with_the_reason(tmp_path: Path) -> None:
    question = (
        "import sys\nfrom pathlib import Path\nfrom streamd.functions.sandbox.probe import choose\n"
        "print(choose('auto', folder=Path(sys.argv[1])).tier)\nchoose('bwrap', folder=Path(sys.argv[1]))\n"
    )
    environment = {"PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    answer = subprocess.run(
        [sys.executable, "-c", question, str(tmp_path / "mounts")],
        check=False,
        capture_output=True,
        env=environment,
        text=True,
    )

    assert answer.stdout == "process\n"
    assert "the sandbox bwrap does not work here: bubblewrap (bwrap) is not on the PATH" in answer.stderr


def test_an_unknown_tier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        choose("docker", folder=tmp_path / "mounts")


def _mounted(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return sorted(Path(line.split()[1]).name for line in lines if f"{folder}/functions/cells/" in line)
