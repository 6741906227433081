"""Facts of the book trade: product forms, types and prices, ISBNs, the meanings of ONIX codes."""

from datetime import date

from stdnum import isbn as numbering

from dev.consonance.records import Product

PICTURE = "https://assets.example.org/covers/{}.jpg"
_FORMS = {
    "BB": ("Hardback", "PhysicalBookProduct", 25.0),
    "BC": ("Paperback", "PhysicalBookProduct", 14.99),
    "DG": ("Electronic book text", "ElectronicBookProduct", 9.99),
}
_PUBLISHING_STATUSES = {
    "00": "Unspecified",
    "01": "Cancelled",
    "02": "Forthcoming",
    "03": "Postponed indefinitely",
    "04": "Active",
    "05": "No longer our product",
    "06": "Out of stock indefinitely",
    "07": "Out of print",
    "08": "Inactive",
    "09": "Unknown",
    "10": "Remaindered",
    "11": "Withdrawn from sale",
    "12": "Recalled",
    "13": "Active, but not sold separately",
    "15": "Recalled",
    "16": "Temporarily withdrawn from sale",
    "17": "Permanently withdrawn from sale",
}
_CONTRIBUTOR_ROLES = {
    "A01": "By (author)",
    "A11": "Designed by",
    "A12": "Illustrated by",
    "A36": "Cover design or artwork by",
    "B01": "Edited by",
    "B06": "Translated by",
}
_COUNTRIES = {"GB": "United Kingdom", "FR": "France", "DE": "Germany", "US": "United States", "SE": "Sweden"}
_OTHERS = {"00": "Unrestricted", "01": "RRP excluding tax", "02": "RRP including tax", "05": "Consumer price"}
_PREFIX = "9781912"  # shaped like a publisher's range; the check digit is right, the books are not


def edition(id_: int, work_id: int, form: str, day: date | None, *, status: str) -> Product:
    """A product of ``form``; its ISBN follows from its id. Every seventh has none yet."""
    return Product(
        id=id_,
        work_id=work_id,
        typename=_FORMS[form][1],
        form_code=form,
        isbn_13=None if id_ % 7 == 0 else _isbn(id_),
        status_code=status,
        publication_date=day,
        planned_publication_date=day,
        amount=_FORMS[form][2],
        approximate_page_count=None if form == "DG" else 160 + id_ % 240,
    )


def _isbn(id_: int) -> str:
    body = f"{_PREFIX}{id_ % 100_000:05d}"
    weighted = sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(body))
    return f"{body}{-weighted % 10}"


def isbn_parts(isbn_13: str) -> dict[str, str]:
    return {
        "isbn_13": isbn_13,
        "isbn_10": numbering.to_isbn10(isbn_13),
        "isbn_with_dashes": numbering.format(isbn_13),
    }


def is_isbn(text: str) -> bool:
    return bool(numbering.is_valid(text))


def plain_isbn(text: str) -> str:
    return str(numbering.compact(text, convert=True))


def onix(code: str) -> dict[str, object]:
    """A code of any list this publisher uses, with its meaning; ``value`` is how an enum spells it."""
    meanings = _CONTRIBUTOR_ROLES | _COUNTRIES | {form: row[0] for form, row in _FORMS.items()}
    return {
        "code": code,
        "value": f"_{code}" if code[0].isdigit() else code,
        "description": meanings.get(code) or _OTHERS.get(code, code),
        "is_deprecated": False,
    }


def publishing_status(code: str) -> dict[str, object]:
    return {**onix(code), "description": _PUBLISHING_STATUSES[code]}


STATUS_CODES = tuple(_PUBLISHING_STATUSES)
