"""``python -m dev.consonance``."""

from dev.consonance.command import app

if __name__ == "__main__":
    app(prog_name="python -m dev.consonance")
