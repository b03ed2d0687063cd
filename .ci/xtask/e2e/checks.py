"""Runs named checks one after the other and prints one line for each.

Owns the reporting: `ok NAME` or `FAIL NAME: why`. Every check has a time limit; the process exits with 1 when one
failed, or when none ran.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

CHECK_LIMIT_S = 30.0


class Checks:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.passed = 0
        self.failed = 0

    async def run(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        try:
            await asyncio.wait_for(check(), CHECK_LIMIT_S)
        except Exception as error:  # any failure is this check's result
            self.failed += 1
            print(f"FAIL {self.prefix}{name}: {type(error).__name__}: {first_line(error)}", flush=True)
        else:
            self.passed += 1
            print(f"ok {self.prefix}{name}", flush=True)


def first_line(error: BaseException) -> str:
    """What went wrong in one line; the cause inside an exception group, where there is one."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return " ".join(str(error).split())[:500]


def equal(got: object, wanted: object) -> None:
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def holds(condition: object, why: str) -> None:
    if not condition:
        raise AssertionError(why)


async def until(condition: Callable[[], object], what: str, limit_s: float = 10.0) -> None:
    """Polls until `condition` holds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {limit_s} s")
        await asyncio.sleep(0.01)


def counted_lines(size: int) -> str:
    """What the node's `large_text` answers for `size` bytes."""
    text = "".join(f"line {line:08}\n" for line in range(size // 14 + 1))
    return text[:size]


def finish(*all_checks: Checks) -> None:
    """Ends the process with what the checks found."""
    passed = sum(checks.passed for checks in all_checks)
    failed = sum(checks.failed for checks in all_checks)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)
