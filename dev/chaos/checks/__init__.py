"""The checks: pure functions over the JSON lines of a run. They import nothing of services/ or shared/, on purpose.

Each check returns the number of things it judged and the violations; its docstring says what counts as in flight.
"""
