"""``python -m dev.whatsapp``."""

from dev.whatsapp.command import app

if __name__ == "__main__":
    app(prog_name="python -m dev.whatsapp")
