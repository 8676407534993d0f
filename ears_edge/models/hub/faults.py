"""What went wrong at the hub, as one of our errors: what happened, and what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import httpx2
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ears_edge.errors import (
    ConfigError,
    EarsEdgeError,
    ModelAccessError,
    ModelNotFoundError,
    UnavailableError,
)
from ears_edge.models.catalog import Reference

GIVE_A_TOKEN: Final = (
    "give a token by EARS_EDGE_MODELS__TOKEN_FILE, or by HF_TOKEN or `hf auth login` as long as"  # noqa: S105  # no token
    " models.endpoint is empty"
)
KEPT: Final = "What was fetched is kept."
TOO_MANY_REQUESTS: Final = 429


class Answer(NamedTuple):
    """What we say to an answer of the hub."""

    error: type[ModelNotFoundError | ModelAccessError | UnavailableError]
    code: str
    text: str
    """Takes `repo`, `url`, `endpoint`, `revision`, `what`, `status` and `wait`."""


_BY_CLASS: Final = (
    (
        GatedRepoError,
        Answer(
            ModelAccessError,
            "hub-gated",
            "{repo}: only for accounts that agreed to its terms (HTTP {status}). Agree at {url}, then "
            f"{GIVE_A_TOKEN}.",
        ),
    ),
    (
        RepositoryNotFoundError,
        Answer(
            ModelNotFoundError,
            "hub-no-repo",
            "{repo}: no such model at {endpoint}, or a private one (HTTP {status}). Check the name; for a "
            f"private one, {GIVE_A_TOKEN}.",
        ),
    ),
    (
        RevisionNotFoundError,
        Answer(
            ModelNotFoundError,
            "hub-no-revision",
            "{repo} has no revision {revision}. {url}/tree/main shows those it has.",
        ),
    ),
    (
        RemoteEntryNotFoundError,
        Answer(ModelNotFoundError, "hub-no-file", "{what} is not there at revision {revision}."),
    ),
)
"""The client's own classes, the narrower before the wider."""
_DENIED: Final = Answer(
    ModelAccessError,
    "hub-denied",
    "{what}: access denied (HTTP {status}). The token, if there is one, may be wrong or lack rights; "
    f"{GIVE_A_TOKEN}.",
)
_BY_STATUS: Final = {
    401: _DENIED,
    403: _DENIED,
    404: Answer(ModelNotFoundError, "hub-no-file", "{what}: not found at {endpoint}."),
    TOO_MANY_REQUESTS: Answer(
        UnavailableError,
        "hub-busy",
        "{endpoint} had too many requests from here (HTTP 429). Try again {wait}; with a token more are "
        f"allowed. {KEPT}",
    ),
}
_ELSE: Final = Answer(
    UnavailableError,
    "hub-error",
    f"{{what}}: {{endpoint}} answered HTTP {{status}}. Try again later. {KEPT}",
)


@contextmanager
def told(endpoint: str, reference: Reference, revision: str, file: str = "") -> Iterator[None]:
    """Turn what the client raises while the block runs into our errors. Errors of our own disk pass.

    Raises:
        ModelNotFoundError: The hub has no such repository, revision or file.
        ModelAccessError: It wants a token, or a better one.
        UnavailableError: It can't be reached, is busy, or is no hub.
        ConfigError: Its address is none.
    """
    try:
        yield
    except EarsEdgeError:
        raise
    except OfflineModeIsEnabled as exc:
        raise offline(reference) from exc
    except HfHubHTTPError as exc:
        raise _refused(exc, endpoint, reference, revision, file) from exc
    except httpx2.InvalidURL as exc:
        raise ConfigError("models.endpoint", f"{endpoint!r} is no address: {exc}") from exc
    except httpx2.TransportError as exc:
        raise UnavailableError(
            f"the way to {endpoint} is cut off ({_reason(exc)}). Check the network and try again, or name a "
            f"mirror by models.endpoint. {KEPT}",
            code="hub-unreachable",
        ) from exc
    except httpx2.HTTPError as exc:
        raise no_hub(endpoint, _reason(exc)) from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise UnavailableError(
            f"{file}: {endpoint} sent less than it said. Try again. {KEPT}", code="hub-cut-off"
        ) from exc


def offline(reference: Reference) -> UnavailableError:
    """It would have to be fetched, but nobody may be asked."""
    return UnavailableError(
        f"{reference.name}: not all of it is on this machine, and in offline mode no hub is asked. To fetch "
        "it, turn off models.offline and HF_HUB_OFFLINE.",
        code="hub-offline",
    )


def no_hub(endpoint: str, why: str) -> UnavailableError:
    """Something answered, but no hub would answer so."""
    return UnavailableError(
        f"{endpoint} does not answer as a hub does ({why}). Are models.endpoint and HF_ENDPOINT right?",
        code="hub-answer",
    )


def _refused(
    exc: HfHubHTTPError, endpoint: str, reference: Reference, revision: str, file: str
) -> EarsEdgeError:
    status = exc.response.status_code
    answer = next((answer for kind, answer in _BY_CLASS if isinstance(exc, kind)), None)
    answer = answer or _BY_STATUS.get(status, _ELSE)
    wait = exc.response.headers.get("Retry-After", "")
    text = answer.text.format(
        repo=reference.repo,
        url=reference.url,
        endpoint=endpoint,
        revision=revision,
        what=f"{reference.repo}: {file}" if file else reference.repo,
        status=status,
        wait=f"in {wait} seconds" if wait.isdecimal() else "in some minutes",
    )
    return answer.error(text, code=answer.code)


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
