"""How much CPU a piece of code may take, whatever else runs on the machine."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail where what is within takes more CPU seconds.

    The garbage collector does not run meanwhile: among ten thousand tests one round of it takes half a second.
    """
    gc.disable()
    began = time.process_time()
    try:
        yield
        took = time.process_time() - began
    finally:
        gc.enable()
    assert took < seconds
