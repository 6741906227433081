"""Every failure that is caused in a real stack, with the alerts that it must fire.

``QUICK_ROUNDS`` are those of ``make test``; ``make alerts`` adds those that take longer, and prints a table.
"""

from functools import reduce

from dev.demo.runner import POLLED_ON_REQUEST
from dev.layout import SERVICES
from dev.observability.failures import causes
from dev.observability.failures.run import CausedFailure, CauseOfFailure, FailureRound
from dev.observability.prometheus import Firing

_SMALL_LIMITS = {
    "ingest": {"STET_LISTEN_CONNECTIONS": "64"},
    "dispatcher": {"STET_SEND_TIMEOUT_SECONDS": "2", "STET_DOCUMENT_HOSTS": f'["{causes.NOWHERE}"]'},
    "writeback": {"STET_CONSONANCE_TIMEOUT": "2", "STET_CONSONANCE_EFFECT_SECONDS": "1"},
}
FAILING_STACK = reduce(lambda options, one: options.with_settings(*one), _SMALL_LIMITS.items(), POLLED_ON_REQUEST)
"""A stack with small limits and short waits for an answer."""


def _fires(name: str, cause: CauseOfFailure, *alerts: frozenset[Firing]) -> CausedFailure:
    return CausedFailure(name, cause, frozenset().union(*alerts))


def _alerts(*names: str, of: tuple[str, ...] = ("",)) -> frozenset[Firing]:
    return frozenset((name, service) for name in names for service in of)


QUICK_ROUNDS = (
    FailureRound(
        [
            _fires("a paused template", causes.template_paused, _alerts("StetTemplateUnusable")),
            _fires(
                "a template moved to marketing", causes.template_recategorised, _alerts("StetTemplateRecategorised")
            ),
            _fires(
                "records that cannot be read",
                causes.unreadable_records,
                _alerts("StetRecordsParked", "StetRecordsParkedFast", of=("rules",)),
            ),
            _fires("rules that do not pass the check", causes.rules_refused, _alerts("StetRulesRefused")),
            _fires(
                "more connections than the port keeps",
                causes.many_connections,
                _alerts("StetConnectionsDropped", "StetWebhookGapOpen"),
            ),
            _fires("a person who writes without end", causes.person_floods, _alerts("StetPeopleBraked")),
            _fires(
                "hardly a file descriptor left",
                causes.few_descriptors,
                _alerts("StetFileDescriptorsLow", of=("rules",)),
            ),
            _fires("a person without an address", causes.person_without_address),
            _fires("a document of a host not allowed", causes.document_not_allowed, _alerts("StetDocumentRefused")),
        ],
        over=_alerts("StetRulesRefused", "StetTemplateRecategorised", "StetTemplateUnusable"),
    ),
    FailureRound(
        [
            _fires("an event about an unknown work", causes.unknown_work, _alerts("StetEventsWaiting")),
            _fires("a write that Consonance refuses", causes.write_refused),
            _fires("a send without an answer", causes.send_without_answer),
        ],
        lasts=True,
    ),
    FailureRound(
        [
            _fires(
                "a day on which hardly anybody acts",
                causes.day_passes,
                _alerts("StetSendUncertain", "StetManualTaskOpen", "StetQuestionUnanswered"),
            )
        ],
    ),
    FailureRound(
        [_fires("all services killed", causes.services_killed, _alerts("StetServiceAbsent", of=SERVICES))],
        over=_alerts("StetServiceAbsent", "StetNotReady", of=SERVICES),
    ),
    FailureRound(
        [
            _fires(
                "PostgreSQL killed",
                causes.postgres_gone,
                _alerts("StetNotReady", of=SERVICES),
                _alerts("StetWebhookNotAccepted"),
            )
        ],
        over=_alerts("StetNotReady", of=SERVICES),
    ),
    FailureRound(
        [
            _fires(
                "a frozen broker",
                causes.broker_frozen,
                _alerts("StetConsumerLagging", of=("rules", "dispatcher", "writeback")),
                _alerts("StetOutboxStuck", of=("ingest",)),
                _alerts("StetAuditGap", of=("dispatcher",)),
                _alerts("StetChainsLate", "StetCatchingUp"),
            )
        ],
        over=_alerts("StetConsumerLagging", of=("rules", "dispatcher", "writeback")) | _alerts("StetChainsLate"),
    ),
)

SLOW_ROUNDS = (
    FailureRound([_fires("a dispatcher at a stop", causes.stands_still("dispatcher"), _alerts("StetMessagesLate"))]),
    FailureRound([_fires("rules at a stop", causes.stands_still("rules"), _alerts("StetDecisionsLate"))]),
    FailureRound(
        [_fires("Consonance down", causes.consonance_down, _alerts("StetWritesPaused", "StetWritesPending"))],
        lasts=True,
    ),
    FailureRound(
        [_fires("Consonance back", causes.consonance_back, _alerts("StetRepliesWrittenLate"))],
        over=_alerts("StetWritesPaused", "StetWritesPending"),
    ),
    FailureRound([_fires("refused sends", causes.sends_refused, _alerts("StetSendsRefused"))]),
    FailureRound(
        [_fires("a missing topic", causes.topic_missing, _alerts("StetOutboxTopicBlocked", of=("rules",)))],
        over=_alerts("StetOutboxTopicBlocked", of=("rules",)),
    ),
    FailureRound(
        [
            _fires(
                "a service that restarts without end",
                causes.service_restarts,
                _alerts("StetProcessRestarting", of=("writeback",)),
            )
        ]
    ),
    FailureRound(
        [_fires("a refused key of Consonance", causes.key_refused, _alerts("StetSecretRefused", of=("ingest",)))],
        over=_alerts("StetSecretRefused", of=("ingest",)) | _alerts("StetPollStale"),
    ),
    FailureRound(
        [
            _fires(
                "a lock that no replica gets",
                causes.leader_kept_away("stet/rules/audit"),
                _alerts("StetLeaderCount", "StetAuditNotRunning", of=("rules",)),
            ),
            _fires("a poll that does not come", causes.not_polled, _alerts("StetPollStale")),
            _fires("rules that cannot be read", causes.rules_folder_away, _alerts("StetRulesSourceUnread")),
            _fires("a document that cannot be fetched", causes.document_away, _alerts("StetDocumentNotSent")),
            _fires("a store of files that is away", causes.file_store_away, _alerts("StetMediaNotFetched")),
        ],
        over=_alerts("StetLeaderCount", "StetAuditNotRunning", of=("rules",)) | _alerts("StetRulesSourceUnread"),
        within=90.0,
    ),
    FailureRound(
        [
            _fires(
                "a refused token of WhatsApp",
                causes.token_refused,
                _alerts("StetSecretRefused", of=("dispatcher",)),
                _alerts("StetLineStopped", "StetMessagesWaiting"),
            )
        ]
    ),
    FailureRound(
        [
            _fires(
                "a second dispatcher that leads",
                causes.second_leader,
                _alerts("StetLeaderCount", of=("dispatcher",)),
                _alerts("StetVersionSkew"),
            )
        ],
        over=_alerts("StetVersionSkew"),
    ),
)

NOT_CAUSED = {
    "StetWatchdog": "it always fires; the test kills Prometheus and sees that the receiver hears it no more",
    "StetAccountLimited": "the simulator of WhatsApp restricts no account for as long as the alert needs",
    "StetAccountWarned": "the simulator of WhatsApp warns no account",
    "StetLineQualityLow": "the quality is read every ten minutes, and fires after thirty",
    "StetBudgetNearlySpent": "a budget so small would hold the messages of the stories",
    "StetBudgetSpent": "a budget so small would hold the messages of the stories",
    "StetPriceUnknown": "it needs a rate card without a country of the stories",
    "StetStrangersBraked": "more than two hundred strangers would have to write",
    "StetMessagesSetAside": "only a fault of the program sets a message aside",
    "StetChainsSetAside": "only a fault of the program sets a chain aside",
    "StetEngineDisagreement": "only a fault of the program makes the engines differ",
    "StetTaskRestarting": "only a fault of the program ends a task; a taken port ends the start",
    "StetLoopErrors": "a loop has to fail eleven times within a quarter of a minute, and waits longer after each",
    "StetDatabasePoolExhausted": "one replica with the load of a test does not fill its pool",
    "StetRuleStartsItself": "no shipped rule writes what starts it",
    "StetRevisionSkew": "it needs a replica of rules that does not follow the log of revisions",
    "StetPartitionsBehind": "it needs a replica of rules that does not follow the log of revisions",
    "StetRulesNotInForce": "it needs rules that wait for an operator; what is in force here follows the folder",
    "StetCanaryTurnedBack": "it needs a canary with hundreds of decisions",
    "StetPausedLong": "the age of a pause is machine time: twenty-four minutes here",
    "StetParkedRecordOld": "the age of a parked record is machine time: seventy-two minutes here",
    "StetErasureLate": "the age of an erasure is machine time: twenty-two minutes here",
    "StetPostgresStandbyMissing": "a metric of CloudNativePG, which does not run here",
    "StetKafkaUnderReplicated": "a metric of Strimzi, and one broker has no replicas",
    "StetKafkaUnderMinIsr": "a metric of Strimzi, and one broker has no replicas",
}
"""The alerts that no failure here fires, and why; promtool tests them all the same."""
