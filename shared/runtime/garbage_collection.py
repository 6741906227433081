"""How often Python looks for garbage that holds itself: seldom, as next to nothing here does.

It is set by the entry points before they import anything else. At Python's own thresholds, the looks at objects that
imports make, and that stay, are a fifth of the CPU of a start.
"""

import gc

_NEW_OBJECTS = 50_000  # between two collections; a batch makes some tens of thousands, and frees them itself


def collect_seldom() -> None:
    gc.set_threshold(_NEW_OBJECTS, 20, 100)


def keep_what_was_started() -> None:
    """Objects that are there now live as long as the process, and are not visited again."""
    gc.freeze()
