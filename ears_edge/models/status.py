"""How it stands with the model: which one serves, which one is wanted, and what is in between. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

Phase = Literal["fetching", "optimizing", "comparing", "loading", "testing", "ready", "unloaded", "failed"]
"""Of the wanted model: on its way from the hub, being rewritten for this machine, tried on its devices, read
into memory, asked for the text of a known clip, in use, put down until somebody speaks, or not to be had."""
SelfTest = Literal["", "passed", "failed", "not judged"]
"""What came of the known clip; empty if it was not asked yet."""

_DOING: Final[dict[Phase, str]] = {
    "fetching": "is being fetched",
    "optimizing": "is being optimized for this machine",
    "comparing": "is being tried on the devices of this machine",
    "loading": "is being loaded",
    "testing": "is being tested",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """One moment of it. Told over both protocols, by health and by metrics; holds nothing that was said."""

    wanted: str
    """Name of the model that the settings, or `models use`, ask for."""
    serving: str = ""
    """Name of the model that hears those who begin to speak now; empty while none does."""
    phase: Phase = "ready"
    done: float | None = None
    """How much of the phase is done, from 0 to 1; None if nobody knows."""
    fault: str = ""
    """Why the wanted model does not serve, or why what it says is not to be trusted."""
    code: str = ""
    """Stable code of the fault."""
    self_test: SelfTest = ""
    """Of the wanted model."""

    @property
    def well(self) -> bool:
        """Whether there is no fault that somebody should look after."""
        return not self.fault

    def line(self) -> str:
        """One line for people."""
        doing = _DOING.get(self.phase)
        if doing is not None:
            part = f" ({self.done:.0%})" if self.done is not None else ""
            return f"{self.wanted} {doing}{part}; {self._meanwhile('until then')}"
        if self.fault and self.serving == self.wanted:
            return f"{self.serving} serves, but {self.fault}"
        if self.fault:
            return f"{self.wanted} can't be used: {self.fault}; {self._meanwhile('instead')}"
        if self.phase == "unloaded":
            return f"{self.wanted} was put down, as nobody spoke; it is loaded when somebody does"
        return f"{self.serving or self.wanted} serves"

    def _meanwhile(self, how: str) -> str:
        if not self.serving:
            return "nothing serves yet" if how == "until then" else "nothing serves"
        return "it serves already" if self.serving == self.wanted else f"{self.serving} serves {how}"
