"""`ears-edge models optimize`: rewrite a model's encoder for this machine."""

import os
from typing import Final

from ears_edge.config import Config
from ears_edge.engine.optimize import longest_window_s, optimize
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.models.optimized import cache_folder
from ears_edge.terminal import console, plain
from ears_edge.typed import to_json

OK: Final = 0
FAILED: Final = 1
"""The original goes on serving."""


def run(name: str, config: Config, *, as_json: bool) -> int:
    """Rewrite it, test it, and say what came of it.

    Raises:
        ModelError: The model can't be used.
        UnavailableError: Another process is optimizing right now.
    """
    folder = ModelFolder.open(resolve(name, config.models))
    out = console(stderr=False)
    if not as_json:
        out.say(plain(f"{name}: rewriting the encoder for this CPU, and comparing it with the original ..."))
    verdict = optimize(folder, cache_folder(os.environ), window_s=longest_window_s(config.engine))
    if as_json:
        found = {"name": name, "encoder": str(verdict.encoder or ""), "fault": verdict.fault}
        print(to_json(found | {"cosine": verdict.cosine}))  # noqa: T201  # for programs
    elif verdict.encoder:
        out.say(plain(f"{name}: optimized, and as like the original as can be (cosine {verdict.cosine:.6f})"))
    else:
        out.say(plain(f"{name}: not optimized, so the original serves: {verdict.fault}"))
    return OK if verdict.encoder else FAILED
