"""The real daemon around a model whose decodes never end. It prints a line when one has begun."""

import sys
import threading

from ears_edge import daemon, settings
from ears_edge.engine.recognizer import Decoded, Work
from tests.fakes import FakeRecognizer


class StuckRecognizer(FakeRecognizer):
    def decode(self, work: Work) -> Decoded:
        print("decoding", work.urgency, flush=True)
        threading.Event().wait()
        return super().decode(work)


if __name__ == "__main__":
    sys.exit(daemon.run(settings.load(), load=lambda _: StuckRecognizer()))
