"""The reasons for which a message waits without holding up the other chains of its chat."""

from services.dispatcher.reasons import MAY_BE_PASSED, MessageReason


def test_messages_of_other_chains_may_pass_whatever_a_template_is_waited_for() -> None:
    of_templates = {reason for reason in MessageReason if reason.startswith("template_")}

    assert of_templates == {reason for reason in MAY_BE_PASSED if reason.startswith("template_")}
