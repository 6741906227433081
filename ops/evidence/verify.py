"""Verify an evidence file of Stet with Python 3 alone: python3 -I verify.py FILE.json [PUBLIC_KEY, 64 hex digits]."""

import json
import sys
from hashlib import sha256, sha512
from pathlib import Path

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493  # https://www.rfc-editor.org/rfc/rfc8032
D = -121665 * pow(121666, -1, P) % P


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    k = D * a[0] * b[0] * a[1] * b[1]
    return (a[0] * b[1] + b[0] * a[1]) * pow(1 + k, -1, P) % P, (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, P) % P


def multiply(n: int, a: tuple[int, int]) -> tuple[int, int]:
    half = multiply(n // 2, add(a, a)) if n else (0, 1)
    return add(half, a) if n & 1 else half


def point(raw: bytes) -> tuple[int, int]:
    y = int.from_bytes(raw, "little") % 2**255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    roots = [pow(square, (P + 3) // 8, P) * each % P for each in (1, pow(2, (P - 1) // 4, P))]
    x: int = next((root for root in roots if root * root % P == square), 0) or sys.exit("no valid key or signature")
    return x if x % 2 == raw[31] >> 7 else P - x, y


def is_signed(key: bytes, signature: bytes, text: bytes) -> bool:
    r, s, base = signature[:32], int.from_bytes(signature[32:], "little"), point(b"\x58" + b"\x66" * 31)
    h = int.from_bytes(sha512(r + key + text).digest(), "little")
    return s < L and multiply(s, base) == add(point(r), multiply(h, point(key)))


path, last = Path(sys.argv[1]), "0" * 64
statement = json.loads((file := json.loads(path.read_text("utf-8")))["statement"])
for number, entry in enumerate(file["entries"], 1):
    if sha256(entry["header"].encode()).hexdigest() != entry["hash"]:
        sys.exit(f"entry {number}: it was changed since it was recorded")
    header = json.loads(entry["header"])
    if [header.get(name) for name in ("record", "sequence", "previous")] != [statement["record"], number, last]:
        sys.exit(f"entry {number}: it does not follow entry {number - 1}; one was changed, removed or put in")
    for part in ("sealed", "content"):
        digest = None if entry[part] is None else sha256(entry[part].encode()).hexdigest()
        is_gone = part == "content" and number in statement["unreadable"]
        if digest != (None if is_gone else header.get(f"{part}_sha256")):
            sys.exit(f"entry {number}: its {part} text was changed or removed since it was recorded")
    last = entry["hash"]
if (len(file["entries"]), last) != (statement["entries"], statement["last_hash"]):
    sys.exit(f"entry {len(file['entries'])}: it is not the last one of the statement; the chain was changed or cut")
key, whose = (sys.argv[2], "the given") if len(sys.argv) > 2 else (file["public_key"], "the file's own")
if not is_signed(bytes.fromhex(key), bytes.fromhex(file["signature"]), file["statement"].encode()):
    sys.exit("the statement was not signed with this key")
has_pdf = (pdf := path.with_suffix(".pdf")).exists()
if has_pdf and sha256(pdf.read_bytes()).hexdigest() != statement["pdf_sha256"]:
    sys.exit(f"{pdf}: it was changed since it was signed")
print(f"{statement['record']}: {statement['entries']} entries, whole, signed on {statement['exported_at']}")
print(f"with {whose} key {key}; {pdf}: " + ("as it was signed" if has_pdf else "NOT COMPARED, it is not there"))
print("No longer readable, the person was erased: " + (", ".join(map(str, statement["unreadable"])) or "no entry"))
