"""docs/asyncapi.yaml describes the topics as they are declared."""

from ops.asyncapi import PATH, asyncapi_document, asyncapi_yaml
from shared.contracts.topics import ALL_TOPICS


def test_the_checked_in_description_is_the_generated_one() -> None:
    assert PATH.read_text() == asyncapi_yaml(), "run: stet asyncapi --write"


def test_every_topic_names_its_key_and_every_kind_its_contract() -> None:
    document = asyncapi_document()
    channels = {channel["address"]: channel for channel in document["channels"].values()}
    assert set(channels) == {topic.name for topic in ALL_TOPICS}
    assert all(channel["description"] != "Key: ." for channel in channels.values())
    schemas = document["components"]["schemas"]
    for message in document["components"]["messages"].values():
        for part in message["payload"].get("allOf", ()):
            reference = part.get("$ref") or part["properties"]["data"]["$ref"]
            assert reference.rpartition("/")[2] in schemas
