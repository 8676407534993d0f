"""The settings: frozen sections and their defaults. Defaults live here, nowhere else.

Reading them from files, the environment and flags is `settings.py`'s part.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ears_edge.typed import Bounds

Port = Annotated[int, Bounds(ge=0, le=65535)]
Count = Annotated[int, Bounds(ge=1, le=100_000)]
Seconds = Annotated[float, Bounds(gt=0, le=1_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """`[model]`: which model serves."""

    name: str = "embedded"
    """A name of the catalog such as `embedded`, `owner/repo[@revision]`, or a folder of files."""
    threads: Annotated[int, Bounds(ge=0, le=256)] = 0
    """Threads of one encoder run; 0 means one for each physical core that this process may use."""
    spinning: bool = False
    """Whether idle threads wait busily for a moment: for a machine that does nothing else."""
    device: Literal["auto", "cpu", "coreml", "cuda", "openvino"] = "auto"
    """What the encoder runs on; `auto` is the CPU unless `ears-edge bench --providers` found a better one."""
    languages: tuple[str, ...] = ()
    """Bare language codes to announce; empty means what the model's own folder says."""
    while_loading: Literal["embedded", "wait", "refuse"] = "embedded"
    """Who hears speakers until the model is there: the model in the package, nobody yet, or nobody at all."""
    optimize: bool = True
    """Rewrite the encoder for this machine before the model serves for the first time; the embedded one
    serves at once, and is rewritten meanwhile."""
    idle_unload_s: Annotated[float, Bounds(ge=0, le=1_000_000)] = 0.0
    """Free the model's memory when nobody has spoken for this long; 0 means never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig:
    """`[models]`: how models are pulled, and where they are kept."""

    dir: str = ""
    """Folder of all pulled models; empty means `ears-edge/models` in the user's data folder."""
    endpoint: str = ""
    """Address of the hub or of a mirror; empty means `HF_ENDPOINT`, else the hub itself."""
    token: str = field(default="", repr=False)
    """Token of the hub. Better given by file: EARS_EDGE_MODELS__TOKEN_FILE."""
    offline: bool = False
    """Ask no hub; take only what is on this machine already. So does `HF_HUB_OFFLINE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """`[engine]`: the streaming chunk engine."""

    max_sessions: Count = 8
    """Sessions at once; one more is refused as busy."""
    max_session_s: Seconds = 14_400.0
    """Audio that one session may hold; then it is ended as if the client had stopped."""
    max_queued_s: Seconds = 10.0
    """Audio that may wait for one session; then its client is no longer read until there is room."""
    full_window_s: Annotated[float, Bounds(ge=4, le=60)] = 15.0
    """An utterance up to this long is decoded whole, in one window, at its end."""
    left_s: Annotated[float, Bounds(ge=0, le=30)] = 4.8
    """Longer speech: left context of a window."""
    chunk_s: Annotated[float, Bounds(ge=0.08, le=30)] = 8.0
    """Longer speech: new audio that a window makes final."""
    right_s: Annotated[float, Bounds(ge=0, le=10)] = 2.0
    """Longer speech: right context of a window. Below 1.6 s whole words are lost."""
    live_step_s: Annotated[float, Bounds(ge=0.16, le=10)] = 0.64
    """Live words: audio between two looks at a growing utterance."""
    live_hold_s: Annotated[float, Bounds(ge=0, le=5)] = 1.28
    """Live words: the youngest audio, about which two looks that agree prove nothing yet."""
    live_confidence: Annotated[float, Bounds(ge=0, le=1)] = 0.0
    """Live words: a word less sure than this waits for more audio; 0 means what the model's card says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WyomingConfig:
    """`[wyoming]`: the Wyoming server."""

    enabled: bool = True
    uri: str = "tcp://0.0.0.0:10300"
    """`tcp://HOST:PORT`, `unix:///PATH` or `stdio://`."""
    live_words: bool = False
    """Send words as transcript chunks while speech goes on, not only at its end. Costs decodes."""
    max_connections: Count = 64
    max_header_bytes: Count = 16_384
    """Longest JSON line of an event."""
    max_data_bytes: Annotated[int, Bounds(ge=1024, le=16_777_216)] = 262_144
    """Longest JSON data of an event."""
    max_payload_bytes: Annotated[int, Bounds(ge=1024, le=67_108_864)] = 4_194_304
    """Longest audio payload of an event (a body posted through Home Assistant comes in pieces of 4 KiB)."""
    idle_timeout_s: Seconds = 300.0
    """A connection that sends nothing for this long is closed."""
    send_timeout_s: Seconds = 30.0
    """A client that takes nothing for this long is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarsConfig:
    """`[ears]`: the eaRS WebSocket server."""

    enabled: bool = True
    host: str = "0.0.0.0"  # noqa: S104  # an appliance for the LAN; documented
    port: Port = 8765
    timestamps: bool = False
    """Put a number into `end_time` of live words. eaRS's own command line shows only those without."""
    vad: bool = True
    """Send `pause` messages."""
    stall_flush_s: Seconds = 0.6
    """No audio for this long while a session is open: what was heard is made final and sent."""
    pid_file: bool = True
    """Write eaRS's PID file; eaRS's own tools look for it before they connect to this machine."""
    enable_listener_mode: bool = False
    listener_tokens: tuple[str, ...] = ()
    """Tokens as `ears-edge token` makes them. Better given by file: EARS_EDGE_EARS__LISTENER_TOKENS_FILE."""
    allowed_origins: tuple[str, ...] = ()
    """Web origins besides this machine's own, such as `http://homeassistant.local:8123`."""
    max_connections: Count = 64
    max_message_bytes: Annotated[int, Bounds(ge=1024, le=67_108_864)] = 16_777_216
    """Longest message; eaRS's own limit for a frame."""
    max_listeners_per_stream: Count = 16
    max_authentication_failures: Count = 5
    """Wrong tokens on one connection; then it is closed."""
    handshake_timeout_s: Seconds = 10.0
    first_message_timeout_s: Seconds = 60.0
    """A connection that says nothing for this long after the handshake is closed."""
    idle_timeout_s: Seconds = 3_600.0
    """An active connection without a message for this long is ended with its final text."""
    send_timeout_s: Seconds = 30.0
    """A client that takes nothing for this long is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroconfConfig:
    """`[zeroconf]`: how clients find this server."""

    enabled: bool = True
    name: str = ""
    """Instance name; empty means one made from the host name."""
    interfaces: tuple[str, ...] = ()
    """Names or addresses of interfaces to advertise on; empty means all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
    """`[control]`: the Unix socket over which commands such as `models use` reach the running daemon."""

    enabled: bool = True
    socket: str = ""
    """Its path; empty means `control.sock` in the folder that the system gives for such, or the user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug` also logs transcripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set. Each field is a section of the TOML file."""

    model: ModelConfig = field(default_factory=ModelConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    wyoming: WyomingConfig = field(default_factory=WyomingConfig)
    ears: EarsConfig = field(default_factory=EarsConfig)
    zeroconf: ZeroconfConfig = field(default_factory=ZeroconfConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    log: LogConfig = field(default_factory=LogConfig)
