"""Imports holidays without its modules of all countries: 8 MB and 40 ms of CPU of each process, for the one or two
countries of a publisher.

The library looks for a country's module when the country is asked for; Python first runs the ``__init__`` of their
package, which imports all 250. That package is put in place here without its ``__init__``.
"""

import sys
from importlib.util import find_spec, module_from_spec

import holidays as holidays  # noqa: PLC0414 -- what needs the library takes it from here

_COUNTRIES = "holidays.countries"
_SPEC = find_spec(_COUNTRIES)
if _SPEC is not None:  # always, as the registry of the library names modules of this package
    sys.modules.setdefault(_COUNTRIES, module_from_spec(_SPEC))
