"""Settings of a connection that do not fit together stop the start, and one of them is named."""

from pathlib import Path

import pytest

from shared.contracts.errors import Misconfigured
from shared.runtime.connection_settings import KafkaSettings, PostgresSettings, Settings, TelemetrySettings
from shared.runtime.settings import load_settings
from tests.shared.certificates import Authority

PASSPHRASE = "opens-the-key"  # noqa: S105 -- of a key made here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.crt``, ``user.crt`` with ``user.key``, ``locked.crt`` with an encrypted key, and what is no certificate."""
    made = tmp_path_factory.mktemp("certificates")
    authority = Authority(made)
    authority.issue("user")
    authority.issue("locked", PASSPHRASE)
    (made / "text").write_text("no certificate")
    return made


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STET_KAFKA_BOOTSTRAP", "127.0.0.1:9092")


def load(model: type[Settings], settings: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """``settings``: ``NAME=value`` with blanks between, without the prefix."""
    for one in settings.split():
        name, _, value = one.partition("=")
        monkeypatch.setenv(f"STET_{name}", value)
    return load_settings(model)


_SSL, _SASL = "KAFKA_SECURITY_PROTOCOL=SSL ", "KAFKA_SECURITY_PROTOCOL=SASL_SSL "
_USER = "KAFKA_TLS_CERTIFICATE_FILE=user.crt KAFKA_TLS_KEY_FILE=user.key "
_LOCKED = "KAFKA_TLS_CERTIFICATE_FILE=locked.crt KAFKA_TLS_KEY_FILE=locked.key "
_LOGIN = "KAFKA_SASL_USERNAME=u KAFKA_SASL_PASSWORD=p "
_OAUTH = (
    "KAFKA_SASL_MECHANISM=OAUTHBEARER KAFKA_OAUTH_TOKEN_URL=https://login.example/token "
    "KAFKA_OAUTH_CLIENT_ID=c KAFKA_OAUTH_CLIENT_SECRET=s "
)


@pytest.mark.parametrize(
    "settings",
    [
        "",
        _SSL + "KAFKA_TLS_CA_FILE=ca.crt " + _USER,
        _SSL + _LOCKED + f"KAFKA_TLS_KEY_PASSWORD={PASSPHRASE}",
        _SASL + _LOGIN,
        _SASL + _LOGIN + "KAFKA_SASL_MECHANISM=SCRAM-SHA-256 KAFKA_TLS_CA_FILE=ca.crt",
        _SASL + _LOGIN + _USER,
        _SASL + _OAUTH + "KAFKA_OAUTH_SCOPE=kafka KAFKA_OAUTH_CA_FILE=ca.crt",
    ],
)
def test_ways_to_connect_to_kafka(settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(KafkaSettings, settings, monkeypatch)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("KAFKA_SECURITY_PROTOCOL=TLS", "STET_KAFKA_SECURITY_PROTOCOL: Input should be"),
        ("KAFKA_TLS_CA_FILE=ca.crt", "STET_KAFKA_TLS_CA_FILE: needs STET_KAFKA_SECURITY_PROTOCOL=SSL"),
        (_SSL + "KAFKA_TLS_CA_FILE=none.crt", "STET_KAFKA_TLS_CA_FILE: cannot be read: No such file"),
        (_SSL + "KAFKA_TLS_CA_FILE=text", "STET_KAFKA_TLS_CA_FILE: holds no certificate"),
        (_SSL + "KAFKA_TLS_CERTIFICATE_FILE=user.crt", "STET_KAFKA_TLS_KEY_FILE: not set, and"),
        (_SSL + "KAFKA_TLS_KEY_FILE=user.key", "STET_KAFKA_TLS_CERTIFICATE_FILE: not set, and"),
        (_SSL + "KAFKA_TLS_KEY_PASSWORD=x", "STET_KAFKA_TLS_KEY_PASSWORD: needs STET_KAFKA_TLS_KEY_FILE"),
        (
            _SSL + "KAFKA_TLS_CERTIFICATE_FILE=user.crt KAFKA_TLS_KEY_FILE=none",
            "STET_KAFKA_TLS_KEY_FILE: cannot be read",
        ),
        (
            _SSL + "KAFKA_TLS_CERTIFICATE_FILE=locked.crt KAFKA_TLS_KEY_FILE=user.key",
            "STET_KAFKA_TLS_KEY_FILE: is not the PEM key of STET_KAFKA_TLS_CERTIFICATE_FILE",
        ),
        (_SSL + _LOCKED, "STET_KAFKA_TLS_KEY_PASSWORD: is needed"),
        (_SSL + _LOCKED + "KAFKA_TLS_KEY_PASSWORD=wrong", "STET_KAFKA_TLS_KEY_PASSWORD: does not open the key"),
        (_LOGIN, "STET_KAFKA_SASL_USERNAME: needs STET_KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        (_SASL + "KAFKA_SASL_USERNAME=u", "STET_KAFKA_SASL_PASSWORD: not set, and STET_KAFKA_SASL_MECHANISM=SCRAM"),
        (_SASL + _LOGIN + "KAFKA_SASL_MECHANISM=GSSAPI", "STET_KAFKA_SASL_MECHANISM: Input should be"),
        (_SASL + _LOGIN + "KAFKA_OAUTH_SCOPE=x", "STET_KAFKA_OAUTH_SCOPE: is not for STET_KAFKA_SASL_MECHANISM=SCRAM"),
        (_SASL + _OAUTH + "KAFKA_SASL_USERNAME=u", "STET_KAFKA_SASL_USERNAME: is not for"),
        (_SASL + "KAFKA_SASL_MECHANISM=OAUTHBEARER", "STET_KAFKA_OAUTH_TOKEN_URL: not set, and"),
        (_SASL + _OAUTH + "KAFKA_OAUTH_TOKEN_URL=http://login.example", "STET_KAFKA_OAUTH_TOKEN_URL: must begin with"),
        (_SASL + _OAUTH + "KAFKA_OAUTH_CA_FILE=text", "STET_KAFKA_OAUTH_CA_FILE: holds no certificate"),
    ],
)
def test_wrong_combinations_of_kafka_settings_are_named(
    settings: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Misconfigured) as refused:
        load(KafkaSettings, settings, monkeypatch)
    assert str(refused.value).startswith(sentence)


_DSN = "POSTGRES_DSN=postgresql://stet_rules@one,two/stet"


@pytest.mark.parametrize(
    "settings",
    [
        _DSN,
        _DSN + "?sslmode=verify-full&sslrootcert=ca.crt&target_session_attrs=read-write",
        _DSN + "?sslmode=verify-full&sslrootcert=ca.crt&sslcert=user.crt&sslkey=user.key&target_session_attrs=primary",
    ],
)
def test_ways_to_connect_to_postgresql(settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(PostgresSettings, settings, monkeypatch)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (_DSN + "?sslmode=verify_full", "STET_POSTGRES_DSN: sslmode must be one of"),
        (_DSN + "?sslmode=verify-full", "STET_POSTGRES_DSN: sslmode=verify-full needs sslrootcert"),
        (_DSN + "?sslrootcert=ca.crt", "STET_POSTGRES_DSN: sslrootcert, sslcert, sslkey and sslcrl need sslmode"),
        (_DSN + "?sslmode=verify-full&sslrootcert=none", "STET_POSTGRES_DSN: the file of sslrootcert cannot be read"),
        (_DSN + "?sslmode=require&sslcert=user.crt", "STET_POSTGRES_DSN: sslcert and sslkey need one another"),
        (_DSN + "?sslrotcert=ca.crt", "STET_POSTGRES_DSN: it has a parameter that is none; did you mean sslrootcert?"),
        (_DSN + "?target_session_attrs=any", "STET_POSTGRES_DSN: target_session_attrs must be read-write or primary"),
        ("POSTGRES_DSN=mysql://one/stet", "STET_POSTGRES_DSN: it must begin with postgresql://"),
        (
            "POSTGRES_DSN=postgresql://one:99999/stet",
            "STET_POSTGRES_DSN: the port of a host is a number from 1 to 65535",
        ),
        ("POSTGRES_DSN=postgresql://one:5432,two:x/stet", "STET_POSTGRES_DSN: the port of a host is a number from 1"),
        ("POSTGRES_DSN=postgresql:/one/stet", "STET_POSTGRES_DSN: it must begin with postgresql://"),
        (
            "POSTGRES_DSN=postgresql://stet:x@one/stet POSTGRES_PASSWORD=y",
            "STET_POSTGRES_PASSWORD: STET_POSTGRES_DSN has a password too",
        ),
    ],
)
def test_wrong_combinations_of_postgresql_settings_are_named(
    settings: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Misconfigured) as refused:
        load(PostgresSettings, settings, monkeypatch)
    assert str(refused.value).startswith(sentence)


_COLLECTOR = "OTLP_ENDPOINT=https://collector:4318 "


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("OTLP_HEADERS={}", ""),
        (_COLLECTOR + 'OTLP_TLS_CA_FILE=ca.crt OTLP_HEADERS={"Authorization":"t"}', ""),
        (_COLLECTOR + "OTLP_TLS_CERTIFICATE_FILE=user.crt OTLP_TLS_KEY_FILE=user.key", ""),
        ('OTLP_HEADERS={"Authorization":"t"}', "STET_OTLP_HEADERS: needs STET_OTLP_ENDPOINT"),
        ("OTLP_TLS_CA_FILE=ca.crt", "STET_OTLP_TLS_CA_FILE: needs STET_OTLP_ENDPOINT"),
        (
            "OTLP_ENDPOINT=http://collector:4318 OTLP_TLS_CA_FILE=ca.crt",
            "STET_OTLP_TLS_CA_FILE: needs an STET_OTLP_ENDPOINT that begins with https://",
        ),
        (
            'OTLP_ENDPOINT=http://collector:4318 OTLP_HEADERS={"Authorization":"t"}',
            "STET_OTLP_ENDPOINT: must begin with https://, since a secret is sent to it",
        ),
        ('OTLP_ENDPOINT=http://Collector:4318 PLAIN_HTTP_HOSTS=["collector"] OTLP_HEADERS={"Authorization":"t"}', ""),
        ('OTLP_ENDPOINT=http://127.0.0.1:4318 OTLP_HEADERS={"Authorization":"t"}', ""),
        ("OTLP_ENDPOINT=http://collector:4318", ""),
        ('PLAIN_HTTP_HOSTS=["http://collector"]', "STET_PLAIN_HTTP_HOSTS: entry 1: "),
        (_COLLECTOR + "OTLP_TLS_CA_FILE=text", "STET_OTLP_TLS_CA_FILE: holds no certificate"),
        (_COLLECTOR + "OTLP_TLS_CERTIFICATE_FILE=user.crt", "STET_OTLP_TLS_KEY_FILE: not set"),
        ("LOG_FORMAT=xml", "STET_LOG_FORMAT: Input should be 'json' or 'console'"),
        ("LOG_LEVEL=loud", "STET_LOG_LEVEL: Input should be"),
    ],
)
def test_wrong_combinations_of_log_and_trace_settings_are_named(
    settings: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not sentence:
        assert load(TelemetrySettings, settings, monkeypatch)
        return
    with pytest.raises(Misconfigured) as refused:
        load(TelemetrySettings, settings, monkeypatch)
    assert str(refused.value).startswith(sentence)


def test_the_password_of_postgresql_may_be_given_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STET_POSTGRES_PASSWORD", "a&b=c%/ü")
    loaded = load(PostgresSettings, _DSN + "?sslmode=require", monkeypatch)
    assert isinstance(loaded, PostgresSettings)
    assert loaded.dsn == "postgresql://stet_rules@one,two/stet?sslmode=require&password=a%26b%3Dc%25%2F%C3%BC"
