"""The document that goes with a message: which one its rule attaches, and where the event says it is."""

from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.context import DecisionContext
from services.rules.rulebook.model import AttachAction, Field
from shared.contracts.messages import AttachedDocument

_LONGEST_ADDRESS, _LONGEST_NAME = 2048, 200


def attachment_of(context: DecisionContext, chain: Chain, message: ChainMessage) -> AttachAction | None:
    """That of the step or of the answer which says this message; a copy and a notice of the house have none."""
    steps = context.rule_of(chain).steps
    if message.step >= len(steps):
        return None
    step = steps[message.step]
    if message.answer is None:
        return step.attach if message.say == step.say else None
    answer = step.answer_at(message.answer)
    told = answer.tell if answer is not None else None
    return told.attach if told is not None and told.say == message.say else None


def is_missing(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    """Whether the event names no address of a document without which the message does not go."""
    attach = attachment_of(context, chain, message)
    return attach is not None and not attach.optional and attached_document(context, chain, message) is None


def attached_document(context: DecisionContext, chain: Chain, message: ChainMessage) -> AttachedDocument | None:
    attach = attachment_of(context, chain, message)
    if attach is None:
        return None
    document = context.document(chain)
    address = document.get(attach.file.name)
    name = document.get(attach.name.name) if isinstance(attach.name, Field) else attach.name
    if not isinstance(address, str) or not 0 < len(address) <= _LONGEST_ADDRESS:
        return None
    shown = name[:_LONGEST_NAME] if isinstance(name, str) and name else attach.file.name
    return AttachedDocument(address=address, name=shown, optional=attach.optional)
