"""Prometheus' own programs, to check what is written for it."""

import subprocess

from dev.tools import program


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool to its end."""
    return subprocess.run([program("promtool"), *arguments], check=False, capture_output=True, text=True)
