"""What is learnt from text alone. Runs where the training's requirements are installed."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nemo.collections.asr.models")
pytest.importorskip("hassil")

from training.model import FLOAT, Recognizer, load, read_labels  # noqa: E402  # only where they are installed
from training.reading import page, reading_loss  # noqa: E402
from training.tokenizer import Tokenizer  # noqa: E402

ROOT = Path(__file__).parents[2]
LABELS = read_labels(ROOT / "ears_edge" / "models" / "embedded" / "vocab.txt")
TEXTS = [
    Tokenizer().encode(text) for text in ("Open the door.", "Would you turn the lights off in the hall?")
]


@pytest.fixture
def model() -> Recognizer:
    loaded = load(ROOT / "training" / FLOAT, LABELS)
    loaded.eval()
    return loaded


def test_the_loss_is_the_mean_over_all_pieces_and_padding_is_none(model: Recognizer) -> None:
    with torch.no_grad():
        alone = [float(reading_loss(model, page([text], "cpu"))) for text in TEXTS]
        both = float(reading_loss(model, page(TEXTS, "cpu")))
    assert both == pytest.approx(np.average(alone, weights=[len(text) for text in TEXTS]), rel=1e-5)


def test_a_piece_is_told_from_those_before_it_only(model: Recognizer) -> None:
    before = TEXTS[0]
    total = len(before) + 1
    with torch.no_grad():
        start = float(reading_loss(model, page([before], "cpu"))) * len(before)
        losses = [
            float(reading_loss(model, page([np.append(before, piece)], "cpu"))) * total - start
            for piece in range(model.blank)
        ]
    assert np.exp(-np.array(losses)).sum() == pytest.approx(1.0, rel=1e-3)


def test_reading_teaches_the_predictor_and_the_joint_network_and_leaves_the_encoder(
    model: Recognizer,
) -> None:
    steps = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        loss = reading_loss(model, page(TEXTS, "cpu"))
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert all(row.grad is None for row in model.nemo.encoder.parameters())
