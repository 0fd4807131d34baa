"""Who you are to a hub: the official client's login, logout and whoami, with clear errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from enfold.base import errors
from enfold.hub import remote


def log_in(token: str | None = None, *, again: bool = False) -> str:
    """Store a token for this and every other library of the official client; returns the account's name.

    Args:
        token: an access token; None asks in the terminal or through the browser.
        again: ask even if a token is stored already.
    """
    from huggingface_hub import login

    with _clear_errors():
        try:
            login(token=token, skip_if_logged_in=not again)
        except ValueError as error:
            raise errors.HubError(f"{remote.endpoint()} refused this token: {error}") from error
    return who_am_i()["name"]


def log_out() -> bool:
    """Forget the stored token; False if there was none."""
    from huggingface_hub import get_token, logout

    had = get_token() is not None
    logout()
    return had


def who_am_i() -> dict[str, Any]:
    """The account that the stored token (or `HF_TOKEN`) belongs to, as the hub describes it.

    Raises:
        HubError: nobody is logged in, or the token is refused.
        OfflineError: the hub can't be reached.
    """
    from huggingface_hub import HfApi

    with _clear_errors():
        return HfApi().whoami()


@contextmanager
def _clear_errors() -> Iterator[None]:
    where = remote.endpoint()
    try:
        with remote.clear_errors("your account"):
            yield
    except errors.OfflineError as error:
        raise errors.OfflineError(
            f"Only {where} knows your account, and it can't be reached: {error.__cause__}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise errors.HubError(f"{where} refused your token. Log in again: enfold login --force") from error
