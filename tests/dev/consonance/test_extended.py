"""The extended profile: each write guards itself and can be read back."""

from typing import Any

import pytest

from tests.dev.consonance.simulator_under_test import SimulatorUnderTest

_ERRORS = "errors { field attribute message messages }"


async def _request(simulator: SimulatorUnderTest, **given: Any) -> dict[str, Any]:
    said = {"work_id": 61418, "rights_holder": 812, "respond_by": "2027-03-19", "push": False, **given}
    made: dict[str, Any] = await simulator.tell("POST", "rights_requests", said)
    return made


async def _decide(simulator: SimulatorUnderTest, request: dict[str, Any], decision: str, **more: Any) -> dict[str, Any]:
    document = f"""mutation ($input: RecordRightsDecisionInput!) {{ recordRightsDecision(input: $input) {{
        rightsRequest {{ decision status }} {_ERRORS} }} }}"""
    given = {"requestId": request["request_id"], "termsHash": request["terms_hash"], "decision": decision, **more}
    payload: dict[str, Any] = (await simulator.ask(document, input=given))["recordRightsDecision"]
    return payload


async def test_a_decision_is_recorded_and_read_back(simulator: SimulatorUnderTest) -> None:
    request = await _request(simulator, request_id="R-9")
    await _decide(simulator, request, "approved", decidedBy=900, onBehalfOf=812, decidedAt="2027-03-03T13:00:00Z")
    read = await simulator.ask(
        """{ rightsRequest(requestId: "R-9") {
             status decision decidedBy onBehalfOf termsHash exclusivity workflowStage work { id } } }"""
    )
    assert read["rightsRequest"] == {
        "status": "approved",
        "decision": "approved",
        "decidedBy": 900,
        "onBehalfOf": 812,
        "termsHash": request["terms_hash"],
        "exclusivity": "non_exclusive",
        "workflowStage": "request",
        "work": {"id": 61418},
    }


async def test_a_request_takes_one_final_decision(simulator: SimulatorUnderTest) -> None:
    request = await _request(simulator)
    for decision in ("question", "expired", "declined"):
        assert (await _decide(simulator, request, decision))["errors"] == []
    refused = await _decide(simulator, request, "approved")
    assert refused["errors"][0]["message"] == "has already been made"


async def test_a_decision_on_other_terms_or_on_a_closed_request_is_refused(simulator: SimulatorUnderTest) -> None:
    request = await _request(simulator)
    assert (await _decide(simulator, request, "approved", termsHash="0"))["errors"][0]["field"] == "termsHash"
    await simulator.tell("PATCH", f"rights_requests/{request['request_id']}", {"status": "cancelled"})
    assert (await _decide(simulator, request, "approved"))["errors"][0]["message"] == "is closed"


@pytest.mark.parametrize(
    "given",
    [{"requires_signature": True}, {"terms": {"summary": "all", "territory": "world", "exclusivity": "exclusive"}}],
)
async def test_a_request_that_needs_a_signature_is_only_approved_subject_to_it(
    simulator: SimulatorUnderTest, given: dict[str, Any]
) -> None:
    request = await _request(simulator, **given)
    assert (await _decide(simulator, request, "approved"))["errors"][0]["message"] == "needs a signature"
    payload = await _decide(simulator, request, "approved_subject_to_signature")
    assert payload["rightsRequest"]["status"] == "approved_subject_to_signature"


async def test_a_card_moves_from_the_stage_it_is_expected_at(simulator: SimulatorUnderTest) -> None:
    card = (await _request(simulator))["rights_record_id"]
    document = f"""mutation ($input: AdvanceRightsWorkflowInput!) {{ advanceRightsWorkflow(input: $input) {{
        rightsRecord {{ status workflowStage }} {_ERRORS} }} }}"""
    given = {"rightsRecordId": card, "toStage": "licensed", "expectedFrom": "offer"}
    assert (await simulator.ask(document, input=given))["advanceRightsWorkflow"]["errors"][0][
        "attribute"
    ] == "expectedFrom"
    await simulator.ask(document, input={**given, "expectedFrom": "request"})
    read = await simulator.ask("query ($id: String!) { rightsRecord(rightsRecordId: $id) { workflowStage } }", id=card)
    assert read["rightsRecord"]["workflowStage"] == "licensed"


async def test_an_acquisition_is_made_once_for_a_dedupe_key(simulator: SimulatorUnderTest) -> None:
    document = f"""mutation ($input: CreateAcquisitionInput!) {{ createAcquisition(input: $input) {{
        acquisition {{ acquisitionId }} created {_ERRORS} }} }}"""
    given = {"dedupeKey": "d", "reference": "P-1", "title": " Eel ", "pitchText": "…", "submitterName": "A. Stranger"}
    attachments = [{"mediaId": "m1", "fileName": "eel.pdf", "mime": "application/pdf", "sha256": "00"}]
    first = (await simulator.ask(document, input={**given, "attachments": attachments}))["createAcquisition"]
    second = (await simulator.ask(document, input={**given, "reference": "P-2"}))["createAcquisition"]
    assert (first["created"], second["created"]) == (True, False)
    assert first["acquisition"] == second["acquisition"]
    read = await simulator.ask('{ acquisition(dedupeKey: "d") { reference title attachments { fileName mime } } }')
    assert read["acquisition"]["attachments"] == [{"fileName": "eel.pdf", "mime": "application/pdf"}]
    assert [entry["outcome"] for entry in await simulator.tell("GET", "log")] == ["applied", "unchanged"]


async def test_messages_are_appended_to_an_acquisition(simulator: SimulatorUnderTest) -> None:
    await simulator.ask(
        """mutation { createAcquisition(input: {dedupeKey: "d", reference: "P-1", title: "Eel", pitchText: "…",
           submitterName: "A. Stranger"}) { created } }"""
    )
    await simulator.ask(
        """mutation { appendToAcquisition(input: {reference: "P-1", text: "And a map.", sourceMessageId: "wamid.1"}) {
           acquisition { reference } } }"""
    )
    read = await simulator.ask('{ acquisition(reference: "P-1") { entries { text sourceMessageId } } }')
    assert read["acquisition"]["entries"] == [{"text": "And a map.", "sourceMessageId": "wamid.1"}]


async def test_an_acknowledgement_never_goes_back(simulator: SimulatorUnderTest) -> None:
    document = """mutation ($input: RecordAcknowledgementInput!) { recordAcknowledgement(input: $input) {
        acknowledgement { kind } } }"""
    for kind in ("read", "delivered", "acknowledged", "read"):
        given = {"documentId": "S-1", "contactId": 3001, "kind": kind, "at": "2027-03-03T10:00:00Z"}
        await simulator.ask(document, input=given)
    read = await simulator.ask('{ acknowledgement(documentId: "S-1", contactId: 3001) { kind contactId } }')
    assert read["acknowledgement"] == {"kind": "acknowledged", "contactId": 3001}
    log = await simulator.tell("GET", "log?operation=recordAcknowledgement")
    assert [entry["outcome"] for entry in log] == ["applied", "unchanged", "applied", "unchanged"]


async def test_a_milestone_is_completed_once(simulator: SimulatorUnderTest) -> None:
    said = {"milestone_id": "M-1", "work_id": 61419, "name": "Files to press", "milestone_key": "files_to_press"}
    await simulator.tell("POST", "milestones", {**said, "push": False})
    document = f"""mutation ($on: ISO8601Date!) {{ completeMilestone(input: {{milestoneId: "M-1", doneOn: $on}}) {{
        milestone {{ doneOn }} {_ERRORS} }} }}"""
    first = await simulator.ask(document, on="2027-03-02")
    assert first["completeMilestone"]["milestone"] == {"doneOn": "2027-03-02"}
    again = (await simulator.ask(document, on="2027-03-03"))["completeMilestone"]
    assert again["errors"][0]["messages"] == ["has already been set"]
    read = await simulator.ask('{ milestone(milestoneId: "M-1") { doneOn milestoneKey } }')
    assert read["milestone"] == {"doneOn": "2027-03-02", "milestoneKey": "files_to_press"}


async def test_a_note_is_added_to_a_contact(simulator: SimulatorUnderTest) -> None:
    await simulator.ask(
        'mutation { createContactNote(input: {contactId: 801, noteText: "Prefers mornings."}) { clientMutationId } }'
    )
    read = await simulator.ask("{ contactNotes(contactId: 801) { noteText } person(id: 801) { notes { noteText } } }")
    assert read["contactNotes"] == read["person"]["notes"] == [{"noteText": "Prefers mornings."}]
