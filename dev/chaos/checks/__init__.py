"""The checks: pure functions over the JSON lines of a run. Nothing here imports services/ or shared/, on purpose.

Each check returns what it judged and the violations it found; its docstring says what counts as in flight, and why.
"""
