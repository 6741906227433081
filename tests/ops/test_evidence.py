"""``stet evidence``: signed files that verify without us, and a sentence that names the entry where they do not."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ops.evidence.export import build_files
from ops.evidence.signing import load_signing_key, public_key_of
from services.writeback.evidence_chain import ChainEnd, EvidenceDraft, PersonKey, append_entry, make_key, open_content
from services.writeback.evidence_store import ChainEntry, EvidenceChain
from shared.contracts.errors import Misconfigured

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
SCRIPT = Path(__file__).parents[2] / "ops" / "evidence" / "verify.py"
SIGNING_KEY = Ed25519PrivateKey.generate()
TEXTS = ("May we use an extract of « Marées »? 可以吗 👍", "J’autorise", "نعم", "A" * 300)


def chain(texts: Sequence[str] = TEXTS) -> EvidenceChain:
    """Four entries; the person of the third is erased."""
    end, made = ChainEnd(), []
    for number, text in enumerate(texts, 1):
        draft = EvidenceDraft(
            tenant="penrose",
            record="rights/R-9",
            entry_id=f"e{number}",
            kind="answered",
            at=NOW,
            person_id="p1",
            public={"answer": "approve"},
            content={"text": text, "request": {"terms": {"summary": "worldwide"}, "parties": [{"name": "A. Holder"}]}},
        )
        key = make_key()
        entry, end = append_entry(end, draft, PersonKey(key.key_id, key.key))
        made.append(
            ChainEntry(entry, unreadable="the person was erased", is_erased=True) if number == 3
            else ChainEntry(entry, open_content(entry, key.key or b""))
        )  # fmt: skip
    return EvidenceChain("penrose", "rights/R-9", made, end)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    hold = {"since": NOW, "reason": "a dispute", "released_at": None}
    for name, content in build_files("penrose", "rights/R-9", chain(), [hold], SIGNING_KEY, NOW).items():
        (folder / name).write_bytes(content)
    return folder


def verify(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-I", str(file.with_name("verify.py")), str(file), *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=50)  # noqa: S603 -- ours


def tampered(exported: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    document = json.loads((exported / "rights-R-9.json").read_text())
    change(document)
    (folder / "verify.py").write_bytes((exported / "verify.py").read_bytes())
    file = folder / "rights-R-9.json"
    file.write_text(json.dumps(document))
    return file


def test_an_export_verifies_with_nothing_but_python(exported: Path) -> None:
    result = verify(exported / "rights-R-9.json", public_key_of(SIGNING_KEY))
    assert (result.returncode, result.stderr) == (0, "")
    assert "rights/R-9: 4 entries, whole" in result.stdout
    assert "erased: 3" in result.stdout
    assert "rights-R-9.pdf: as it was signed" in result.stdout


def test_the_script_says_what_it_could_not_compare(exported: Path, tmp_path: Path) -> None:
    """The PDF is not there, or no key was given: then the one in the file says nothing of who signed."""
    result = verify(tampered(exported, tmp_path, lambda _: None))
    assert (result.returncode, result.stderr) == (0, "")
    assert "rights-R-9.pdf: NOT COMPARED" in result.stdout
    assert "with the file's own key" in result.stdout
    assert "with the given key" in verify(exported / "rights-R-9.json", public_key_of(SIGNING_KEY)).stdout


def test_the_script_is_short_and_imports_the_standard_library_alone() -> None:
    lines = SCRIPT.read_text().splitlines()
    assert len(lines) <= 60
    imported = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= sys.stdlib_module_names


def edit(number: int, part: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        entry = document["entries"][number - 1]
        assert old in entry[part]
        entry[part] = entry[part].replace(old, new)

    return change


def swap_case(number: int, part: str) -> Callable[[dict[str, Any]], None]:
    """Changes what is random: no character stands in it for certain."""

    def change(document: dict[str, Any]) -> None:
        entry = document["entries"][number - 1]
        entry[part] = entry[part].swapcase()

    return change


def remove(number: int, *parts: str) -> Callable[[dict[str, Any]], None]:
    """As if the person of the entry had been erased."""
    return lambda document: document["entries"][number - 1].update(dict.fromkeys(parts))


def rehash(number: int) -> Callable[[dict[str, Any]], None]:
    """Changes a header and gives it the hash that fits."""

    def change(document: dict[str, Any]) -> None:
        edit(number, "header", "approve", "decline")(document)
        entry = document["entries"][number - 1]
        entry["hash"] = sha256(entry["header"].encode()).hexdigest()

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (edit(2, "header", "approve", "decline"), "entry 2: it was changed"),
        (edit(2, "content", "J’autorise", "Je refuse"), "entry 2: its content"),
        (swap_case(1, "sealed"), "entry 1: its sealed"),
        (remove(2, "content"), "entry 2: its content"),
        (remove(2, "sealed", "content"), "entry 2: its sealed"),
        (remove(3, "sealed"), "entry 3: its sealed"),
        (rehash(2), "entry 3: it does not follow entry 2"),
        (rehash(4), "entry 4: it is not the last one of the statement"),
        (lambda document: document["entries"].pop(1), "entry 2: it does not follow entry 1"),
        (lambda document: document["entries"].pop(), "entry 3: it is not the last one"),
        (lambda document: document["entries"].clear(), "entry 0: it is not the last one"),
        (lambda document: document["entries"].insert(0, document["entries"][0]), "entry 2: it does not follow"),
        (
            lambda document: document.update(statement=document["statement"].replace("10:00", "11:00")),
            "the statement was not signed",
        ),
    ],
    ids=[
        "header",
        "content",
        "sealed",
        "unread",
        "unsealed",
        "erased",
        "rehashed",
        "last",
        "removed",
        "cut",
        "emptied",
        "repeated",
        "statement",
    ],
)
def test_a_tampered_export_names_the_entry(
    exported: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    result = verify(tampered(exported, tmp_path, change))
    assert result.returncode == 1
    assert result.stderr.startswith(sentence), result.stderr


def test_another_key_and_another_pdf_are_noticed(exported: Path, tmp_path: Path) -> None:
    other = public_key_of(Ed25519PrivateKey.generate())
    assert "not signed with this key" in verify(exported / "rights-R-9.json", other).stderr
    file = tampered(exported, tmp_path, lambda _: None)
    file.with_suffix(".pdf").write_bytes(b"%PDF-1.7 another")
    result = verify(file)
    assert (result.returncode, "it was changed since it was signed" in result.stderr) == (1, True)


def test_the_pdf_says_that_it_is_pdf_a(exported: Path) -> None:
    pdf = (exported / "rights-R-9.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-1.7")
    assert b"<pdfaid:part>2</pdfaid:part>" in pdf
    assert b"<pdfaid:conformance>B</pdfaid:conformance>" in pdf


@pytest.mark.parametrize(
    "text",
    [
        "ตกลงครับ",
        "1️⃣ yes",
        "a\x08b\x1b[0m",
        "\x9f",
        "\ufffe \ue000",
        "\U000f0000 \u0378",
        "ok \U0001f9d1\u200d\U0001f4bb",
    ],
    ids=["thai", "keycap", "control", "c1", "no character", "private", "joined"],
)
def test_the_pdf_is_made_whatever_people_write(text: str) -> None:
    """A character that no font has is spelled out."""
    files = build_files("penrose", "rights/R-9", chain([text]), [], SIGNING_KEY, NOW)
    assert files["rights-R-9.pdf"].startswith(b"%PDF-1.7")


def test_a_key_that_cannot_sign_is_named_by_its_setting(tmp_path: Path) -> None:
    wrong = tmp_path / "x25519.pem"
    wrong.write_bytes(X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    broken = tmp_path / "broken.pem"
    broken.write_text("no key")
    for file, sentence in ((None, "not set"), (wrong, "not Ed25519"), (broken, "PEM"), (tmp_path / "none", "read")):
        with pytest.raises(Misconfigured, match=f"STET_EVIDENCE_KEY_FILE.*{sentence}"):
            load_signing_key(file)


def test_without_typst_the_command_names_the_image_that_has_it() -> None:
    script = "import sys, runpy; sys.modules['typst'] = None; runpy.run_module('ops', run_name='__main__')"
    ran = subprocess.run(  # noqa: S603 -- this interpreter, with the script above
        [sys.executable, "-c", script, "evidence", "rights/R-9", "--reason", "a dispute"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "run the command in the image stet-operator" in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
