"""``python -m services.rules``."""

from shared.runtime.garbage_collection import collect_seldom

if __name__ == "__main__":
    collect_seldom()  # before the imports, or they cost a fifth more
    from services.rules.app import main
    from shared.runtime.service import run_service

    run_service(main)
