"""What is kept beside a pulled model for people and for `ModelFolder`: its card, and whose it is. Pure."""

from typing import Final

from ears_edge.models.catalog import Reference
from ears_edge.typed import to_json

CARD: Final = "model.json"
ATTRIBUTION: Final = "ATTRIBUTION.txt"
SHORT_COMMIT: Final = 12


def card(reference: Reference, commit: str, licence: str, languages: tuple[str, ...]) -> str:
    """The text of `model.json`; `folder.ModelInfo` reads it.

    Args:
        reference: The model.
        commit: What was fetched.
        licence: What the repository says; the catalog's word counts more.
        languages: Likewise.
    """
    entry = reference.entry
    name, url = (entry.author, entry.author_url) if entry else (owner(reference), reference.url)
    return to_json(
        {
            "name": reference.name,
            "version": commit[:SHORT_COMMIT],
            "description": entry.description if entry else f"{reference.repo} on the hub",
            "languages": entry.languages if entry else languages,
            "licence": entry.licence if entry else licence,
            "attribution": {"name": name, "url": url},
        }
    )


def attribution(reference: Reference, licence: str = "") -> tuple[str, ...]:
    """Whose the model is and what its licence asks to be told, as lines for people."""
    entry = reference.entry
    if entry is None:
        told = (
            f"under the licence {licence!r}, says its page"
            if licence
            else "under what licence its page tells"
        )
        return (f"{reference.repo} by {owner(reference)}, {reference.url}", f"Given {told}.")
    lines = [
        f"{entry.name} by {entry.author}, {entry.author_url}",
        f"Licence {entry.licence}, {entry.licence_url}",
    ]
    if entry.exporter:
        lines.append(f"Changed by {entry.exporter} ({entry.changes}), {reference.url}")
    return tuple(lines)


def attribution_text(reference: Reference, commit: str, licence: str) -> str:
    """The text of `ATTRIBUTION.txt`, which stays beside the files."""
    lines = attribution(reference, licence)
    return "\n".join([*lines, f"Fetched by ears-edge at commit {commit}; the files are as they were.", ""])


def owner(reference: Reference) -> str:
    """Whose repository it is."""
    return reference.repo.partition("/")[0]
