"""A broker and a database in Docker containers, for machines where a Docker daemon answers.

``python -m tests.containers`` fetches their images, so that no test has to wait for them.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker.errors import DockerException
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer

_KAFKA = "confluentinc/cp-kafka:7.6.0"  # the one that testcontainers is tried with
_POSTGRES = "postgres:18"
_UNIX = "unix://"
_SOCKET = _UNIX + "/var/run/docker.sock"
_ANSWERS_WITHIN = 3  # seconds
_BROKER_STARTS_WITHIN = 180  # seconds; on a busy machine the library's own 30 are not enough
_LARGEST_RECORD = "8388608"  # bytes; a parked one holds up to 4 MiB and its headers


def docker_answers() -> bool:
    """Whether a daemon does; the client alone says nothing."""
    address = os.environ.get("DOCKER_HOST", _SOCKET)
    if address.startswith(_UNIX) and not _listens(address.removeprefix(_UNIX)):
        return False  # asked first, as the client leaves a socket open when no daemon listens
    try:
        client = docker.from_env(timeout=_ANSWERS_WITHIN)
    except DockerException:
        return False
    with client.api:
        return bool(client.ping())


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as knock:
        return knock.connect_ex(path) == 0


@contextmanager
def kafka_container() -> Iterator[str]:
    container = KafkaContainer(_KAFKA).with_kraft()
    container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false").with_env("KAFKA_MESSAGE_MAX_BYTES", _LARGEST_RECORD)
    try:
        yield container.start(timeout=_BROKER_STARTS_WITHIN).get_bootstrap_server()
    finally:
        container.stop()


@contextmanager
def postgres_container() -> Iterator[str]:
    container = PostgresContainer(_POSTGRES, username="postgres", dbname="postgres", driver=None)
    with container.with_command("-c max_connections=200") as postgres:
        yield postgres.get_connection_url()


def fetch_images() -> None:
    client = docker.from_env()
    with client.api:
        for image in (_KAFKA, _POSTGRES):
            client.images.pull(image)


if __name__ == "__main__" and docker_answers():
    fetch_images()
