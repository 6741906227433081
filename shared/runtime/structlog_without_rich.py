"""Imports structlog without rich: a tenth of the CPU of a service's start, for tracebacks that no service prints.

structlog draws tracebacks with rich where that is installed, as it is for the command line. The package
``shared.runtime`` imports this module before any other.
"""

import sys

_IS_ABSENT = "rich" not in sys.modules
if _IS_ABSENT:
    sys.modules["rich"] = None  # type: ignore[assignment] # to the import system: it cannot be imported

import structlog as structlog  # noqa: E402, PLC0414 -- see above; what may be first to need it takes it from here

if _IS_ABSENT:
    del sys.modules["rich"]
