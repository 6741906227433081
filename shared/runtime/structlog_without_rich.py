"""Imports structlog without rich: a tenth of the CPU of a service's start, for tracebacks that no service prints.

structlog draws tracebacks with rich where that is installed, as it is for the command line. The package
``shared.runtime`` imports this module before any other.
"""

import sys

_IS_ABSENT = "rich" not in sys.modules
if _IS_ABSENT:
    sys.modules["rich"] = None  # type: ignore[assignment] # to the import system: it cannot be imported

import structlog  # noqa: E402, F401 -- see above

if _IS_ABSENT:
    del sys.modules["rich"]
