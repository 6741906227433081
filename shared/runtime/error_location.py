"""Where an error happened, in our own files: said instead of its text, which may quote personal data."""

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def error_location(error: BaseException) -> str:
    """The innermost place of ours an error passed: a file and a line."""
    return (error_path(error) or ["an unknown place"])[-1]


def error_path(error: BaseException) -> list[str]:
    """Every place of ours an error passed, outermost first."""
    found = []
    trace = error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and "site-packages" not in path.parts:
            found.append(f"{path.relative_to(_ROOT)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return found
