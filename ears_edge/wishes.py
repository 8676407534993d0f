"""Another model for a daemon that runs: `models use` names one, SIGHUP has the settings read anew."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields, replace

from ears_edge.config import Config
from ears_edge.control import ENDS
from ears_edge.engine import loading
from ears_edge.engine.supply import ModelSupply
from ears_edge.errors import ModelError
from ears_edge.models.status import ModelStatus
from ears_edge.settings import Settings

LIVE = frozenset({"model", "models"})
"""Sections whose changes need no restart."""

logger = logging.getLogger(__name__)


class Wishes:
    """Turns what users ask for into wishes of the supply."""

    def __init__(self, supply: ModelSupply, reread: Callable[[], Settings] | None = None) -> None:
        """Prepare.

        Args:
            supply: Fulfils them.
            reread: Reads the settings anew, as they were read at start. Blocks.
        """
        self._supply = supply
        self._reread = reread
        self._started = supply.config
        self._rereading: asyncio.Task[None] | None = None

    @property
    def status(self) -> ModelStatus:
        """How it stands with the model."""
        return self._supply.status

    def change(self) -> Awaitable[object]:
        """What ends when the status changes from what it is at this call."""
        return self._supply.change()

    async def use(self, name: str) -> Callable[[], bool]:
        """Want another model, until the daemon ends or somebody wants another one.

        One that is on its way already comes no sooner for that: nothing is begun anew.

        Returns:
            Tells whether this is still the newest wish.

        Raises:
            ModelError: There is no such model; the one that serves goes on.
        """
        before = self._supply.config
        # Languages that the settings name are those of the model that the settings name.
        languages = before.model.languages if name == before.model.name else ()
        wish = replace(before, model=replace(before.model, name=name, languages=languages))
        await asyncio.to_thread(loading.exists, wish)
        if wish == before and self.status.phase not in ENDS:
            wish = before
        else:
            logger.info("model %s is wanted", name)
            self._supply.want(wish)
        return lambda: self._supply.config is wish

    def reload(self) -> None:
        """Begin to read the settings anew, and to load the model that they ask for; returns at once."""
        if self._rereading is None or self._rereading.done():
            self._rereading = asyncio.create_task(self._reload(), name="reread")

    async def close(self) -> None:
        """End what `reload` began."""
        if self._rereading is not None:
            self._rereading.cancel()
            await asyncio.wait([self._rereading])

    async def _reload(self) -> None:
        config = self._started
        if self._reread is not None:
            settings = await asyncio.to_thread(self._reread)
            if settings.problems:
                logger.error("the settings stay as they were: %s", "; ".join(map(str, settings.problems)))
                return
            config = settings.config
        for key in needing_restart(self._started, config):
            logger.warning("%s has changed; restart the daemon for it to take effect", key)
        wish = replace(self._started, model=config.model, models=config.models)
        try:
            await asyncio.to_thread(loading.exists, wish)
        except ModelError as exc:
            logger.error("the model stays as it was: %s", exc)  # noqa: TRY400  # the text says it all
            return
        logger.info("the settings were read anew: model %s is wanted", wish.model.name)
        self._supply.want(wish)


def needing_restart(before: Config, after: Config) -> Iterator[str]:
    """Dotted names of the keys that have changed, and that a running daemon does not obey."""
    for section in fields(Config):
        old, new = getattr(before, section.name), getattr(after, section.name)
        if section.name not in LIVE:
            for key in fields(old):
                if getattr(old, key.name) != getattr(new, key.name):
                    yield f"{section.name}.{key.name}"
