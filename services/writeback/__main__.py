"""``python -m services.writeback``."""

from shared.runtime.startup import collect_garbage_seldom, end_on_sigterm, import_structlog_without_rich

if __name__ == "__main__":
    end_on_sigterm()
    collect_garbage_seldom()  # before the imports, or they cost a fifth more
    import_structlog_without_rich()
    from services.writeback.app import main
    from shared.runtime.service import run_service

    run_service(main)
