"""The stores of files: a folder, S3, Google Cloud Storage or Azure, by their URL.

Credentials come from the environment, as each provider's own tools read them.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.contracts.errors import Misconfigured

if TYPE_CHECKING:
    from obstore.store import ObjectStore

STORE_URL = r"^($|file:///|s3://|gs://|az://|abfss://)"
"""The URLs of stores; empty where there is none. https://docs.rs/object_store/latest/object_store/enum.ObjectStoreScheme.html"""

_AZURE_ACCOUNT = (
    "az://container/folder needs the account in AZURE_STORAGE_ACCOUNT_NAME; or name it in the URL, as in "
    "abfss://container@account.dfs.core.windows.net/folder"
)


def open_object_store(url: str, setting: str) -> "ObjectStore":
    """The store at ``url``; a folder that does not exist is created. Raises Misconfigured, which names ``setting``."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 -- where a store is set: four providers in native code
    from obstore.store import from_url  # noqa: PLC0415 -- the same

    scheme = urlsplit(url).scheme
    try:
        return from_url(url, mkdir=True) if scheme == "file" else from_url(url)
    except (BaseError, OSError, ValueError) as error:
        reason = _AZURE_ACCOUNT if scheme == "az" else f"{type(error).__name__}"
        raise Misconfigured(setting, f"the store cannot be opened: {reason}") from None
