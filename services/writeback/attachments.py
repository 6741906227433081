"""The files of a write to an acquisition: their links, and what becomes of a file that arrives after its write. Pure.

A write waits some minutes for its files, which ingest fetches while a form is filled; then the record is made without
the link, and the file is added to it once it is there.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, PersonId, TenantId, Wamid, WriteId, derive_id
from shared.contracts.whatsapp import MediaRefused, MediaStored
from shared.contracts.writes import AppendAcquisition, Attachment, CreateAcquisition, RequestWrite, WriteEvidence

SOURCE = "stet/writeback"
FILES_WAIT = timedelta(minutes=15)
"""How long a write waits for a file; business time since it was requested."""


class MediaFile(NamedTuple):
    """``verdict``: of the scan, or why the file is not kept; then ``url`` is None."""

    file_id: str
    person_id: PersonId
    verdict: str
    url: str | None
    mime: str | None
    size: int | None


def reported_file(report: MediaStored | MediaRefused) -> MediaFile:
    if isinstance(report, MediaRefused):
        return MediaFile(report.file_id, report.person_id, report.reason.value, None, report.mime, None)
    return MediaFile(report.file_id, report.person_id, report.verdict.value, report.url, report.mime, report.size)


def attachments_of(write: RequestWrite) -> tuple[Attachment, ...]:
    return write.input.attachments if isinstance(write.input, CreateAcquisition | AppendAcquisition) else ()


def open_files(write: RequestWrite) -> list[str]:
    """The files of a write of which it does not say yet whether they were stored or refused."""
    return [one.file_id for one in attachments_of(write) if one.file_id is not None and one.verdict is None]


def may_wait(write: RequestWrite, now: datetime) -> bool:
    return now - write.requested_at < FILES_WAIT


def link_files(write: RequestWrite, files: Mapping[str, MediaFile]) -> RequestWrite:
    """The write with the links, or the verdicts, of these files."""
    request = write.input
    if not isinstance(request, CreateAcquisition | AppendAcquisition):
        return write
    linked = tuple(_linked(one, files.get(one.file_id or "")) for one in request.attachments)
    return write.replace(input=request.replace(attachments=linked))


def _linked(attachment: Attachment, file: MediaFile | None) -> Attachment:
    if file is None or attachment.verdict is not None:
        return attachment
    mime, size = file.mime or attachment.mime, file.size if file.size is not None else attachment.size
    return attachment.replace(url=file.url, verdict=file.verdict, mime=mime, size=size)


def late_write_id(tenant: TenantId, file_id: str, write_id: WriteId) -> WriteId:
    """The id of the write that adds a file to the record of a write that went on without it."""
    return WriteId(derive_id(tenant, "file", file_id, write_id))


def late_append(tenant: TenantId, write: RequestWrite, ordering_key: str, file: MediaFile, now: datetime) -> Event:
    """The request to add a file to the record of a write that was executed without it.

    Raises ValueError for a write without this file.
    """
    request = write.input
    (attachment, *_) = [one for one in attachments_of(write) if one.file_id == file.file_id]
    assert isinstance(request, CreateAcquisition | AppendAcquisition)  # noqa: S101 -- others have no attachments
    data = RequestWrite(
        write_id=late_write_id(tenant, file.file_id, write.write_id),
        record=write.record,
        work_id=write.work_id,
        input=AppendAcquisition(
            reference=request.reference,
            attachments=(_linked(attachment, file),),
            source_message_id=Wamid(f"file/{file.file_id}"),
        ),
        evidence=WriteEvidence(
            rule=write.evidence.rule, chain_id=write.evidence.chain_id, person_id=write.evidence.person_id
        ),
        requested_at=now,
    )
    return Event(
        id=EventId(derive_id(tenant, "file write", data.write_id)),
        source=SOURCE,
        type=RequestWrite.kind,
        time=now,
        recordedtime=now,
        tenantid=tenant,
        partitionkey=ordering_key,
        data=data,
    )


def file_locks(tenant: TenantId, file_ids: Iterable[str]) -> list[str]:
    """The advisory locks under which a file's report, and a write that goes on without it, are stored."""
    return [f"{tenant}/file/{file_id}" for file_id in file_ids]


def reports_of(events: Sequence[Event]) -> list[tuple[Event, MediaFile]]:
    return [
        (event, reported_file(event.data)) for event in events if isinstance(event.data, MediaStored | MediaRefused)
    ]
