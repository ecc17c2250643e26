"""The metrics page, read back: a series' value by its name and labels."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from streamd.metrics import Metrics
from tests.daemons import Daemon

__all__ = ["Samples", "counted", "samples_of"]

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(daemon: Daemon) -> Samples:
    """Read the metrics page."""
    text = daemon.page("/metrics").body.decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counted(samples: Samples | Metrics, name: str, **labels: str) -> float:
    """Give a series' value; 0 when it has none yet."""
    if isinstance(samples, Metrics):
        return samples._registry.get_sample_value(name, labels) or 0.0
    return samples.get((name, frozenset(labels.items())), 0.0)
