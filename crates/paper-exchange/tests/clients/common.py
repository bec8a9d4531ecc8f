"""What the client scripts share: where the exchange is, and how to wait."""

import json
import sys
import time


def settings():
    """The settings that the Rust test writes to standard input; no secret is an argument."""
    return json.load(sys.stdin)


def wait_for(what, probe, seconds=10):
    """Polls until `probe` answers something true, or fails naming `what`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what}")


def equal(actual, expected, what):
    """Fails with both values."""
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r}, expected {expected!r}")


def finish(name):
    """The line that the Rust test looks for."""
    print(f"{name}: all checks passed")
