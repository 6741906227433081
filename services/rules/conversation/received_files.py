"""Applies what ingest reports of files that people sent: a form gives up a file that is not kept, and asks again."""

from services.rules.conversation import forms
from services.rules.conversation.chain import Chain
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.fact_values import FileReport
from services.rules.conversation.facts import Facts
from services.rules.conversation.steps import advance
from shared.contracts.ids import PersonId
from shared.contracts.whatsapp import MediaRefused, MediaStored


def apply_report(context: DecisionContext, data: MediaStored | MediaRefused) -> None:
    """Judge the file by the form that has it.

    Where no form that is being filled has it, the report is kept: the message may be read after it.
    """
    report = FileReport.of(data)
    chain = _chain_with_file(context.facts, context.facts.current_id(report.person_id), report.file_id)
    if chain is None:
        context.facts.add_file_report(report)
    elif (refusal := forms.report_refusal(context, chain, report)) is not None:
        context.add_reason(Reason.FILE_REFUSED, chain)
        context.save_chain(advance(context, forms.give_up_file(context, chain, report.file_id, refusal)))
        return
    context.add_reason(Reason.FACTS_KEPT)


def _chain_with_file(facts: Facts, person: PersonId, file_id: str) -> Chain | None:
    """The chain whose form is being filled with this file."""
    return next((chain for chain in facts.chains_of(person) if chain.active and forms.has_file(chain, file_id)), None)
