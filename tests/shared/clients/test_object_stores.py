"""A store of files is opened by its URL, or the start says which setting is wrong and what it lacks."""

import re
from pathlib import Path

import pytest
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from shared.clients.object_stores import STORE_URL, open_object_store
from shared.contracts.errors import Misconfigured


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_folder_is_created(tmp_path: Path) -> None:
    store = open_object_store((tmp_path / "files").as_uri(), "STET_MEDIA_STORE")
    assert isinstance(store, LocalStore)
    assert (tmp_path / "files").is_dir()


def test_a_bucket_and_a_folder_in_it_are_named_by_the_url() -> None:
    store = open_object_store("s3://bucket/received", "STET_MEDIA_STORE")
    assert isinstance(store, S3Store)
    assert (store.config["bucket"], store.prefix) == ("bucket", "received")
    store = open_object_store("gs://bucket/received", "STET_MEDIA_STORE")
    assert isinstance(store, GCSStore)
    assert (store.config["bucket"], store.prefix) == ("bucket", "received")


def test_azure_is_named_with_its_account_or_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_object_store("abfss://files@penrose.dfs.core.windows.net/received", "STET_MEDIA_STORE")
    assert isinstance(store, AzureStore)
    named = (store.config["account_name"], store.config["container_name"], store.prefix)
    assert named == ("penrose", "files", "received")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "penrose")
    store = open_object_store("az://files/received", "STET_MEDIA_STORE")
    assert isinstance(store, AzureStore)
    assert (store.config["container_name"], store.prefix) == ("files", "received")


def test_azure_without_an_account_says_where_it_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"STET_DOCUMENT_STORE.*AZURE_STORAGE_ACCOUNT_NAME.*abfss://container@"):
        open_object_store("az://files/received", "STET_DOCUMENT_STORE")


@pytest.mark.parametrize("url", ["s3://", "gs://", "file://received"])
def test_a_url_that_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="STET_MEDIA_STORE"):
        open_object_store(url, "STET_MEDIA_STORE")


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [("", True), ("s3://b", True), ("abfss://c@a.dfs.core.windows.net/f", True), ("https://b.example", False),
     ("b/folder", False), ("ftp://b", False)],
)  # fmt: skip
def test_the_setting_takes_urls_of_stores_alone(url: str, *, is_taken: bool) -> None:
    assert bool(re.match(STORE_URL, url)) is is_taken
