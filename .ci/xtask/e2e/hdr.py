"""Reads the histogram files of `erlmcp bench run --out DIR` with the reference HdrHistogram reader for Python.

Owns the comparison of three tellings of one run: `latency.hlog` (decoded here), `*.hgrm` and `report.json`.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import sys
from decimal import Decimal
from pathlib import Path

from checks import Checks, equal, finish, holds
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

LOWEST_NS, HIGHEST_NS, DIGITS = 1_000, 3_600_000_000_000, 3
NS_PER_MS = 1e6
# Half of the last digit of a value in a percentile distribution.
HALF_STEP_NS = 500


def new_histogram() -> HdrHistogram:
    return HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)


def merged(path: Path, tag: str) -> tuple[HdrHistogram, int]:
    """All intervals of that tag, added up, and how many there were."""
    total, count = new_histogram(), 0
    reader = HistogramLogReader(str(path), new_histogram())
    while (interval := reader.get_next_interval_histogram()) is not None:
        if interval.get_tag() == tag:
            total.add(interval)
            count += 1
    reader.close()
    return total, count


def rows(path: Path) -> list[tuple[float, float, int]]:
    """Value in ms, percentile as a fraction, total count of each line of a percentile distribution."""
    found = []
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) in (3, 4) and re.fullmatch(r"[0-9.]+", words[0]):
            found.append((float(words[0]), float(words[1]), int(words[2])))
    return found


def value_at_rank(histogram: HdrHistogram, rank: int) -> int:
    """The value of the sample of that rank, from 1."""
    for item in histogram.get_recorded_iterator():
        if item.total_count_to_this_value >= rank:
            return item.value_iterated_to
    raise AssertionError(f"no rank {rank}")


def below(histogram: HdrHistogram, value: int) -> int:
    """How many samples are below `value`."""
    counts = (item.count_at_value_iterated_to for item in histogram.get_recorded_iterator() if item.value_iterated_to < value)
    return sum(counts)


def around(histogram: HdrHistogram, ms: float) -> tuple[int, int]:
    """Nanoseconds that may stand behind a value which is printed to the microsecond and names an end of its bucket."""
    ns = round(ms * NS_PER_MS)
    low = histogram.get_lowest_equivalent_value(max(0, ns - HALF_STEP_NS))
    return low, histogram.get_highest_equivalent_value(ns + HALF_STEP_NS)


def footer(path: Path, name: str) -> float:
    match = re.search(rf"{name}\s*=\s*([0-9.]+)", path.read_text())
    if match is None:
        raise AssertionError(f"no {name} in {path.name}")
    return float(match.group(1))


async def main(folder: Path) -> None:
    checks = Checks("")
    report = json.loads((folder / "report.json").read_text())
    for tag in ("response", "service"):
        hgrm = folder / f"{tag}.hgrm"

        async def decodes(tag: str = tag) -> None:
            total, count = merged(folder / "latency.hlog", tag)
            holds(count >= 2, f"only {count} intervals of {tag}")
            equal(total.get_total_count(), report["latency"][tag]["samples"])

        async def quantiles(tag: str = tag) -> None:
            total, _ = merged(folder / "latency.hlog", tag)
            count, seen = total.get_total_count(), 0
            for name, share in (("p50", "0.5"), ("p90", "0.9"), ("p99", "0.99"), ("p999", "0.999"), ("p9999", "0.9999")):
                told = report["latency"][tag][name]["ms"]
                if told is not None:
                    read = value_at_rank(total, math.ceil(Decimal(share) * count))
                    holds(total.values_are_equivalent(read, round(told * NS_PER_MS)), f"{name}: {read} ns, told {told} ms")
                    seen += 1
            holds(seen >= 3, f"the report tells only {seen} percentiles")

        async def distribution(tag: str = tag, hgrm: Path = hgrm) -> None:
            total, _ = merged(folder / "latency.hlog", tag)
            table = rows(hgrm)
            holds(len(table) > 20, f"only {len(table)} lines")
            for value, fraction, count in table:
                low, high = around(total, value)
                holds(below(total, low) <= count <= below(total, high + 1), f"{count} values up to {value} ms")
                holds(fraction <= count / total.get_total_count() + 1e-9, f"{fraction} of {count}")
            counts = [count for _, _, count in table]
            equal(counts, sorted(counts))

        async def summary(tag: str = tag, hgrm: Path = hgrm) -> None:
            total, _ = merged(folder / "latency.hlog", tag)
            equal(int(footer(hgrm, "Total count")), total.get_total_count())
            low, high = around(total, footer(hgrm, "Max"))
            holds(low <= total.get_max_value() <= high, f"{total.get_max_value()} is not in {low} to {high}")

        await checks.run(f"latency.hlog decodes, {tag}", decodes)
        await checks.run(f"percentiles agree, {tag}", quantiles)
        await checks.run(f"{tag}.hgrm agrees line by line", distribution)
        await checks.run(f"{tag}.hgrm's last lines agree", summary)
    finish(checks)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
