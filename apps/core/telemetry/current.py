"""A metric that names what is current: one sample, 1, under a label that changes."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric


class Named:
    """A collector of its own: a labelled gauge would keep what was current before.

    It tells of the worker that is asked; with several workers no library shares such a metric.
    """

    def __init__(self, name: str, documentation: str, *, label: str) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._value: str | None = None

    def set(self, value: str | None) -> None:
        """Name what is current; None while there is nothing."""
        self._value = value

    def collect(self) -> Iterator[Metric]:
        """Yield the metric, without a sample while there is nothing."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=[self._label])
        if self._value is not None:
            family.add_metric([self._value], 1)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Yield the name, so that no other metric may take it."""
        yield GaugeMetricFamily(self._name, self._documentation, labels=[self._label])
