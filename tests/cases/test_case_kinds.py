"""Every folder of cases is read by a test."""

from pathlib import Path

import pytest

from tests.cases.case_folders import CASES, CaseKind, case_folders, kind_of


def test_the_folder_of_cases_is_not_empty() -> None:
    if not case_folders():
        pytest.skip(f"there are no cases at {CASES}; STET_CASES names another folder")


@pytest.mark.parametrize("folder", case_folders(), ids=lambda path: path.name)
def test_every_case_is_of_a_kind_that_a_test_reads(folder: Path) -> None:
    kinds = ", ".join(CaseKind)
    assert kind_of(folder) is not None, (
        f"{folder} is of no kind that a test walks ({kinds}): write its test in tests/cases"
    )
