"""``python -m benchmarks.sdk``: records a second of the SDK's producer and consumer, against a daemon beside them."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from benchmarks.machine import machine_of
from benchmarks.report import Report
from benchmarks.results import Measurement, rows_of
from benchmarks.sdk import consumer, producer, takeover, unrest

__all__ = ["main"]

_WORKS: dict[str, tuple[str, Callable[..., list[Measurement]]]] = {
    "producer": (producer.REFERENCE, producer.measure),
    "consumer": (consumer.REFERENCE, consumer.measure),
    "takeover": (takeover.REFERENCE, takeover.measure),
    "unrest": (unrest.REFERENCE, unrest.measure),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--only", type=click.Choice(list(_WORKS)), default=None, help="Measure this only.")
@click.option("--records", type=click.IntRange(1000, 100_000_000), default=500_000, help="Records of one measurement.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="Times that each is measured.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Workers of streamd.")
@click.option("--directory", "--dir", type=click.Path(path_type=Path), default=None, help="Where data goes: a disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
@click.option(
    "--peer-python",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    help="Python of an environment that has async-kinesis, to measure it beside the consumer.",
)
def main(
    *,
    only: str | None,
    records: int,
    rounds: int,
    workers: int,
    directory: Path | None,
    out: Path,
    peer_python: Path | None,
) -> None:
    """Measure the SDK."""
    for name, (reference, works) in _WORKS.items():
        if only not in (None, name):
            continue
        measure = works if name == "producer" else partial(works, peer_python=peer_python)
        folder = Path(tempfile.mkdtemp(prefix="streamd-sdk-", dir=directory))
        measurements: list[Measurement] = []
        try:
            machine = machine_of(folder)
            for number in range(rounds):
                measurements += measure(folder / str(number), record_count=records, worker_count=workers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        rows = rows_of(measurements, reference=reference)
        report = Report(title=f"SDK: {name}", machine=machine, reference=reference, rows=rows)
        report.write(out, f"sdk-{name}")
        print(report.markdown())


if __name__ == "__main__":
    main()
