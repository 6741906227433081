"""The names of all settings, and the check that finds a misspelt one.

A ``STET_…`` name that is not declared here was misspelt, or is a former one, and its service would run without it: it
stops the start.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from shared.contracts.errors import Misconfigured

PREFIX = "STET_"

SERVICE_SETTINGS = frozenset(
    PREFIX + name
    for name in (
        # all services
        "ALLOW_DEVELOPMENT_CLOCK", "DEVELOPMENT_CLOCK", "HEALTH_HOST", "HEALTH_PORT", "INSTANCE", "KAFKA_BOOTSTRAP",
        "KAFKA_OAUTH_CA_FILE", "KAFKA_OAUTH_CLIENT_ID", "KAFKA_OAUTH_CLIENT_SECRET", "KAFKA_OAUTH_SCOPE",
        "KAFKA_OAUTH_TOKEN_URL", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_USERNAME",
        "KAFKA_SECURITY_PROTOCOL", "KAFKA_TLS_CA_FILE", "KAFKA_TLS_CERTIFICATE_FILE", "KAFKA_TLS_KEY_FILE",
        "KAFKA_TLS_KEY_PASSWORD", "LOG_FORMAT", "LOG_LEVEL", "OTLP_ENDPOINT", "OTLP_HEADERS",
        "OTLP_SAMPLE_RATIO", "OTLP_TLS_CA_FILE",
        "OTLP_TLS_CERTIFICATE_FILE", "OTLP_TLS_KEY_FILE", "OTLP_TRACES_PER_SECOND",
        "PLAIN_HTTP_HOSTS", "POSTGRES_DSN", "POSTGRES_PASSWORD", "POSTGRES_POOL", "SECRETS_RESTART_SECONDS",
        "TENANT", "TOPIC_PREFIX", "KEEP_INBOX_DAYS", "KEEP_PARKED_DAYS",
        # ingest
        "KEEP_MEDIA_DAYS", "KEEP_VISITORS_DAYS",
        "APPROVALS", "CONSONANCE_KEY", "CONSONANCE_POLLED", "CONSONANCE_POLL_SECONDS", "CONSONANCE_URL",
        "CONSONANCE_WEBHOOK_SECRETS", "CONTACT_TAGS", "DRAIN_SECONDS", "INGEST_ROLE",
        "LISTEN_ADDRESS", "LISTEN_BODY_BYTES", "LISTEN_BODY_SECONDS", "LISTEN_CONNECTIONS", "LISTEN_HEADER_SECONDS",
        "LISTEN_IDLE_SECONDS", "LISTEN_PORT", "MEDIA_AT_ONCE", "MEDIA_HOSTS", "MEDIA_LINK", "MEDIA_MAX_MB",
        "MEDIA_SCANNER", "MEDIA_STORE", "MEDIA_TYPES", "PSEUDONYM_KEY", "PUBLISHER_COUNTRY", "PUBLISHER_TIME_ZONE",
        "RESPOND_WITHIN", "STAGES",
        "WHATSAPP_APP_SECRETS", "WHATSAPP_BUSINESS_ACCOUNT", "WHATSAPP_GRAPH_URL", "WHATSAPP_GRAPH_VERSION",
        "WHATSAPP_HEARTBEAT_SECONDS", "WHATSAPP_LINES", "WHATSAPP_REDELIVERY_SECONDS", "WHATSAPP_TOKEN",
        "WHATSAPP_VERIFY_TOKEN",
        # rules
        "KEEP_CHAINS_DAYS",
        "KEEP_DECISION_INPUTS_DAYS", "RULES_ACTIVATION", "RULES_BUNDLE", "RULES_BUNDLE_TOKEN", "RULES_COMMIT",
        "RULES_DIR", "RULES_WATCH_SECONDS", "SIGNING_KEYS",
        # dispatcher
        "BUDGET_WARNING_PERCENT", "DOCUMENT_HOSTS", "DOCUMENT_MAX_MB", "DOCUMENT_STORE", "KEEP_COST_DAYS",
        "KEEP_MESSAGES_DAYS",
        "LIMITS_LIFTED", "MONTHLY_BUDGET", "RATE_CARD", "SENDS_IN_FLIGHT", "SEND_TIMEOUT_SECONDS",
        "UNPROVEN_AFTER_SECONDS", "WHATSAPP_ACCOUNTS", "WHATSAPP_RATES", "WHATSAPP_TEMPLATES_SECONDS",
        # writeback
        "CONSONANCE_EFFECT_SECONDS", "CONSONANCE_MAPPING", "CONSONANCE_TIMEOUT", "WRITES_AT_ONCE",
        # tools: stet topics
        "KAFKA_REPLICATION",
        # tools: stet templates
        "WHATSAPP_APP",
        # tools: stet evidence
        "EVIDENCE_KEY_FILE",
    )
)  # fmt: skip
"""The names of all settings, in alphabetical order under the first service that has them. A test compares them."""

OTHER_SETTINGS = frozenset(
    PREFIX + name
    for name in (
        "SECRETS_DIR",  # where settings may also be files
        "COMMIT",  # of the code, set by the build of an image
        "OPERATOR",  # who runs stet, for its audit log
        "METRICS",  # addresses of replicas, for stet status
        "CASES", "PAYLOADS", "RULE_EXAMPLES", "SAMPLE_PAUSE", "SWITCHES", "WRITE_EXPECTED",  # of tests
        "IMAGE", "BUNDLE",  # of the pipelines of a repository of rules
    )
)  # fmt: skip
"""Variables read outside the settings."""

KNOWN_SETTINGS = SERVICE_SETTINGS | OTHER_SETTINGS

RENAMED_SETTINGS = {
    "STET_CONSONANCE_MAY_LAND": "STET_CONSONANCE_EFFECT_SECONDS",
    "STET_HOUSE_COUNTRY": "STET_PUBLISHER_COUNTRY",
    "STET_HOUSE_ZONE": "STET_PUBLISHER_TIME_ZONE",
}
"""Former names, with the current ones. A former name that is still set stops the start, as a misspelt one does."""

_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$")
_LINK_ADDRESS = re.compile(r"^(tcp|udp|sctp)://")


def check_names(environment: Mapping[str, str], secrets_dir: Path | None = None) -> None:
    """Raises Misconfigured for a variable, or a file in the secrets folder, named ``STET_…`` that is never read."""
    names = [name for name, value in environment.items() if not _is_service_link(name.upper(), value)]
    files = [path.name for path in secrets_dir.iterdir()] if secrets_dir is not None else []
    unknown = [*_unknown(names, ""), *_unknown(files, "a file in STET_SECRETS_DIR that ")]
    if unknown:
        (name, sentence), *others = unknown
        raise Misconfigured(name, "; ".join([sentence, *(f"{other}: {also}" for other, also in others)]))


def _unknown(names: Iterable[str], what: str) -> Iterator[tuple[str, str]]:
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in KNOWN_SETTINGS:
            yield name, f"{what}no service or tool reads{'' if what else ' it'}{_hint(name.upper())}"


def _hint(name: str) -> str:
    if renamed := RENAMED_SETTINGS.get(name):
        return f"; it is called {renamed} now"
    near = get_close_matches(name, sorted(KNOWN_SETTINGS), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes set the variable for a Service named ``stet-…``.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    return bool(_SERVICE_LINK.search(name)) or (name.endswith("_PORT") and bool(_LINK_ADDRESS.match(value)))
