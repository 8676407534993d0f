"""Reading the settings: defaults < TOML file < environment < command line.

An environment variable is `EARS_EDGE_SECTION__KEY`, or `EARS_EDGE_SECTION__KEY_FILE` with the path of a file
that holds the value (for secrets). A blank variable counts as unset. Lists are separated by commas, in a file
of the second kind also by line ends.
"""

import difflib
import os
import stat
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, NamedTuple, get_origin

from ears_edge.config import Config
from ears_edge.errors import ConfigError, excerpt
from ears_edge.settings_rules import contradictions, doubts, expectation
from ears_edge.typed import ShapeError, to_typed

PREFIX: Final = "EARS_EDGE_"
CONFIG_VARIABLE: Final = "EARS_EDGE_CONFIG"
"""Names the TOML file, when no flag does."""
FILE_SUFFIX: Final = "_FILE"
SYSTEM_FILE: Final = Path("/etc/ears-edge/ears-edge.toml")
SECRETS: Final = frozenset({"ears.listener_tokens", "models.token"})
"""Keys whose values are never shown."""
MAX_FILE_BYTES: Final = 1_048_576
"""No settings file, and no file with a secret, is larger."""
NONE: Final[Mapping[str, str]] = types.MappingProxyType({})


class Key(NamedTuple):
    """One key of the settings."""

    section: str
    name: str
    owner: type[Any]  # any of config.py's sections
    """The section's dataclass."""
    annotation: object
    default: object

    @property
    def dotted(self) -> str:
        """The name that people use: `section.key`."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"{PREFIX}{self.section.upper()}__{self.name.upper()}"


def _all_keys() -> Iterator[Key]:
    defaults = Config()
    for section in fields(Config):
        values = getattr(defaults, section.name)
        annotations = typing.get_type_hints(type(values), include_extras=True)
        for key in fields(values):
            default = getattr(values, key.name)
            yield Key(section.name, key.name, type(values), annotations[key.name], default)


KEYS: Final[Mapping[str, Key]] = {key.dotted: key for key in _all_keys()}
"""Every key, by its dotted name, in the order of config.py."""
_VARIABLES: Final = {key.variable: key for key in KEYS.values()}
_SECTIONS: Final = tuple(section.name for section in fields(Config))


@dataclass(slots=True, kw_only=True)
class Settings:
    """The settings as read, with where each came from and all that is wrong with them."""

    config: Config = field(default_factory=Config)
    """A key with a problem keeps the value from the layer below."""
    origins: dict[str, str] = field(default_factory=dict)
    """Dotted key -> file, variable or `command line`; a key that is not in it has its default."""
    problems: list[ConfigError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    file: Path | None = None
    """The TOML file that was read, if there was one."""

    def shown(self) -> dict[str, dict[str, object]]:
        """Section -> key -> value as plain data; of secrets only whether, or how many, there are."""
        table: dict[str, dict[str, object]] = {name: {} for name in _SECTIONS}
        for key in KEYS.values():
            value = getattr(getattr(self.config, key.section), key.name)
            if key.dotted in SECRETS and value:
                value = "<hidden>" if isinstance(value, str) else f"<{len(value)} hidden>"
            table[key.section][key.name] = list(value) if isinstance(value, tuple) else value
        return table


def load(
    path: Path | None = None, env: Mapping[str, str] = os.environ, overrides: Mapping[str, str] = NONE
) -> Config:
    """As `inspect`, for callers that stop at the first problem.

    Raises:
        ConfigError: The first problem.
    """
    settings = inspect(path, env, overrides)
    for problem in settings.problems:
        raise problem
    return settings.config


def inspect(
    path: Path | None = None, env: Mapping[str, str] = os.environ, overrides: Mapping[str, str] = NONE
) -> Settings:
    """Read all layers and report every problem; never raises for what a user wrote.

    Args:
        path: The TOML file; None means the one that `EARS_EDGE_CONFIG` names, else the first of the user's
            and the system's that is there, else none.
        env: The environment.
        overrides: Dotted key -> text, from the command line.
    """
    settings = Settings()
    values: dict[str, object] = {}
    settings.file = path if path is not None else _search(env)
    layers = (_from_file(settings.file, settings), _from_env(env, settings), _from_flags(overrides, settings))
    for layer in layers:
        for key, value, origin in layer:
            try:
                values[key.dotted] = _typed(key, value, origin)
            except ConfigError as problem:
                settings.problems.append(problem)
            else:
                settings.origins[key.dotted] = origin
    settings.config = _assembled(values)
    settings.problems += contradictions(settings.config)
    settings.warnings += doubts(settings.config)
    return settings


class _Value(NamedTuple):
    key: Key
    value: object
    origin: str


class _Text(str):
    """A value from the environment or the command line: numbers, booleans and lists are read from it."""

    __slots__ = ()


def _search(env: Mapping[str, str]) -> Path | None:
    if named := env.get(CONFIG_VARIABLE, "").strip():
        return Path(named)
    folders = [Path(home)] if (home := env.get("XDG_CONFIG_HOME", "").strip()) else []
    if not folders and (home := env.get("HOME", "").strip()):
        folders.append(Path(home, ".config"))
    candidates = [*(folder / "ears-edge" / "ears-edge.toml" for folder in folders), SYSTEM_FILE]
    # Not `Path.is_file`: it raises for a folder that this user may not look into, such as another one's home.
    return next((file for file in candidates if os.path.isfile(file)), None)  # noqa: PTH113


def _from_file(path: Path | None, settings: Settings) -> Iterator[_Value]:
    if path is None:
        return
    try:
        document, readable_by_all = _read_document(path)
    except ConfigError as problem:
        settings.problems.append(problem)
        return
    origin = _printable(path)
    for section, table in document.items():
        if section not in _SECTIONS:
            settings.problems.append(_unknown(section, origin, [*_SECTIONS, *KEYS], "section"))
        elif not isinstance(table, dict):
            settings.problems.append(
                ConfigError(section, f"in {origin}: is a section; write [{section}] above its keys")
            )
        else:
            for name, value in table.items():
                key = KEYS.get(f"{section}.{name}")
                if key is None:
                    settings.problems.append(_unknown(f"{section}.{name}", origin, KEYS, "key"))
                    continue
                if key.dotted in SECRETS and value and readable_by_all:
                    settings.warnings.append(_too_open(key, path))
                yield _Value(key, value, origin)


def _read_document(path: Path) -> tuple[dict[str, Any], bool]:  # TOML's values
    name = f"the settings file {_printable(path)}"
    try:
        text, readable_by_all = _read_text(path)
        return tomllib.loads(text), readable_by_all
    except OSError as exc:
        raise ConfigError("", f"can't read {name}: {exc.strerror or exc}") from exc
    except _NotTextError as exc:
        raise ConfigError("", f"{name} {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError("", f"{name} is not valid TOML: {exc}") from exc
    except RecursionError as exc:
        raise ConfigError("", f"{name} is not valid TOML: nested too deeply") from exc


def _from_env(env: Mapping[str, str], settings: Settings) -> Iterator[_Value]:
    for variable in sorted(env):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        text = env[variable].strip()
        key = _VARIABLES.get(variable)
        if key is not None:
            if text:
                yield _Value(key, _Text(text), variable)
            continue
        key = _VARIABLES.get(variable.removesuffix(FILE_SUFFIX))
        if key is None:
            known = [*_VARIABLES, *(f"{name}{FILE_SUFFIX}" for name in _VARIABLES)]
            settings.problems.append(_unknown(variable, "the environment", known, "variable"))
        elif text and env.get(key.variable, "").strip():
            problem = f"both {key.variable} and {variable} are set; unset one of them"
            settings.problems.append(ConfigError(key.dotted, problem))
        elif text:
            try:
                yield _Value(key, _secret(key, Path(text), settings), variable)
            except ConfigError as problem:
                settings.problems.append(problem)


def _from_flags(overrides: Mapping[str, str], settings: Settings) -> Iterator[_Value]:
    for dotted, text in overrides.items():
        key = KEYS.get(dotted)
        if key is None:
            settings.problems.append(_unknown(dotted, "the command line", KEYS, "key"))
        else:
            yield _Value(key, _Text(text.strip()), "command line")


def _secret(key: Key, path: Path, settings: Settings) -> _Text:
    name = f"{_printable(path)}, which {key.variable}{FILE_SUFFIX} names"
    try:
        text, readable_by_all = _read_text(path)
    except OSError as exc:
        raise ConfigError(key.dotted, f"can't read {name}: {exc.strerror or exc}") from exc
    except _NotTextError as exc:
        raise ConfigError(key.dotted, f"{name}, {exc}") from exc
    if key.dotted in SECRETS and readable_by_all:
        settings.warnings.append(_too_open(key, path))
    lines = text.strip().splitlines()
    return _Text(",".join(lines) if _is_list(key) else "\n".join(lines))


class _NotTextError(ValueError):
    """A file holds something else than text; says what, as the end of a sentence about it."""


def _read_text(path: Path) -> tuple[str, bool]:
    """A small file's text, and whether every user of this machine can read it.

    Raises:
        OSError: It can't be read.
        _NotTextError: It is not UTF-8 (with or without a byte order mark), or far too large.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
        readable_by_all = bool(os.fstat(file.fileno()).st_mode & stat.S_IROTH)
    if len(data) > MAX_FILE_BYTES:
        raise _NotTextError(f"is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig"), readable_by_all
    except UnicodeDecodeError as exc:
        raise _NotTextError("is not text in UTF-8") from exc


def _typed(key: Key, value: object, origin: str) -> object:
    """Check one value.

    Raises:
        ConfigError: It is of the wrong type or out of its bounds; the value is told unless it is a secret.
    """
    if isinstance(value, _Text):
        if not _is_unicode(value):
            raise ConfigError(key.dotted, f"the value from {origin} is not text in UTF-8")
        plain: object = (
            [item for part in value.split(",") if (item := part.strip())] if _is_list(key) else str(value)
        )
    else:
        plain = value
    try:
        section = to_typed({key.name: plain}, key.owner, from_text=isinstance(value, _Text))
    except ShapeError as exc:
        got = "something else" if key.dotted in SECRETS else excerpt(plain)
        problem = f"got {got} from {origin}; expected {expectation(key.annotation)}"
        raise ConfigError(key.dotted, problem) from exc
    return getattr(section, key.name)


def _assembled(values: Mapping[str, object]) -> Config:
    sections: dict[str, dict[str, object]] = {name: {} for name in _SECTIONS}
    for dotted, value in values.items():
        sections[KEYS[dotted].section][KEYS[dotted].name] = value
    return to_typed(sections, Config)


def _unknown(name: str, source: str, known: Iterable[str], kind: str) -> ConfigError:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if name != name.upper() and (upper := name.upper()) in known:  # a variable in small letters
        near = [upper]
    if not near:
        # `port` at the top of a file, or a right key in a wrong section
        near = [dotted for dotted, key in KEYS.items() if key.name == name.rpartition(".")[2]][:1]
    hint = f"; did you mean {near[0]}?" if near else "; `ears-edge config show` lists all that there are"
    return ConfigError(name, f"no such {kind} (from {source}){hint}")


def _too_open(key: Key, path: Path) -> str:
    name = _printable(path)
    return f"{name} holds {key.dotted} and every user of this machine can read it; try: chmod 600 {name}"


def _printable(path: Path) -> str:
    """A path as text; its bytes on the disk may be none."""
    return os.fsencode(path).decode(errors="replace")


def _is_unicode(text: str) -> bool:
    """Whether this came as UTF-8. What did not, Python hands on as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_list(key: Key) -> bool:
    return get_origin(key.annotation) is tuple
