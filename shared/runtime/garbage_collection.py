"""Sets how often Python looks for objects in reference cycles: seldom, since this code makes nearly none.

The entry points set it before they import anything else. With Python's own thresholds, looking at the objects that
imports make, and that stay, takes a fifth of the CPU of a start.
"""

import gc

_NEW_OBJECTS = 50_000  # between two collections; a batch makes some tens of thousands, and frees them itself


def collect_seldom() -> None:
    gc.set_threshold(_NEW_OBJECTS, 20, 100)


def keep_what_was_started() -> None:
    """The objects of now live as long as the process, so the collector does not look at them again."""
    gc.freeze()
