"""The model: NeMo's FastConformer-TDT at a small size, and its CTC head for training."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from nemo.collections.asr.models import EncDecRNNTModel
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import nn

from training.features import MELS, Lengths
from training.lattice import Cells
from training.placing import in_bfloat16, placed
from training.tdt_loss import DURATIONS, SIGMA

WIDTH, HEADS, CHANNELS, HIDDEN = 144, 4, 64, 256
DROPOUT = 0.0
MAX_SYMBOLS = 10
STATISTICS = 0.01
"""Share of the newest batch in the means and variances that the model is used with: torch has a tenth, so ten
minutes of audio. By those a training's result had 1 % more errors than by two hours of it."""
FLOAT = "checkpoint.safetensors"
LAYER = re.compile(r"(nemo\.encoder\.layers\.)(\d+)(\..*)")
LAST_PRODUCT = re.compile(r"\.(feed_forward\d\.linear2|self_attn\.linear_out|conv\.pointwise_conv2)\.weight")


class Recognizer(nn.Module):
    """Encoder, predictor and joint as NeMo builds them, with a CTC head beside.

    NeMo gives the modules, and the exporter whose graphs the product rewrites; its trainer is not used.
    """

    def __init__(self, labels: Sequence[str], layers: int) -> None:
        super().__init__()
        self.labels = list(labels)
        self.nemo: Any = EncDecRNNTModel(cfg=OmegaConf.create(_configuration(self.labels, layers)))
        self.nemo.joint.log_softmax = False
        for module in self.nemo.encoder.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = STATISTICS
        self.ctc = nn.Linear(WIDTH, len(self.labels) + 1)

    @property
    def blank(self) -> int:
        """The blank's token number, the last."""
        return len(self.labels)

    def freeze(self, layers: int) -> None:
        """Leave the first layers as they are, and what is before them; none of either if `layers` is 0."""
        encoder = self.nemo.encoder
        for module in (encoder.pre_encode, *encoder.layers[:layers]) if layers else ():
            module.requires_grad_(requires_grad=False).eval()

    def encode(self, features: torch.Tensor, lengths: Lengths) -> torch.Tensor:
        """(B, T, 128) float32 normalized columns -> (B, T / 8, 144) float32; see `frames_of`."""
        encoder = self.nemo.encoder
        if features.is_cuda:
            with torch.autocast("cuda", torch.bfloat16):
                ends = placed(lengths, features.device)
                encoded, _ = encoder(audio_signal=features.transpose(1, 2), length=ends)
        else:
            rows = [self._subsampled(row[:length]) for row, length in zip(features, lengths, strict=True)]
            padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
            ends = torch.from_numpy(frames_of(lengths))
            with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16(padded.device)):
                encoded, _ = encoder(audio_signal=padded, length=ends, bypass_pre_encode=True)
        joined: torch.Tensor = encoded.transpose(1, 2).float()
        return joined

    def _subsampled(self, clip: torch.Tensor) -> torch.Tensor:
        """(T, 128) -> (T / 8, 144), in float32 and channels last, so that the wide images stay in the cache.

        A whole batch of them takes a CPU ten times as long.
        """
        subsampling = self.nemo.encoder.pre_encode
        image = clip[None, None].to(memory_format=torch.channels_last)
        for layer in subsampling.conv:
            image = layer(image)
        rows: torch.Tensor = subsampling.out(image.transpose(1, 2).flatten(2))[0]
        return rows

    def join(
        self, encoded: torch.Tensor, tokens: torch.Tensor, lengths: torch.Tensor, cells: Cells
    ) -> torch.Tensor:
        """(B, T, 144), (B, U) int64 and N cells -> (N, V + 1 + 5) logits, durations last."""
        predicted, _, _ = self.nemo.decoder(targets=tokens, target_length=lengths)
        joint, (clip, frame, token) = self.nemo.joint, cells.at
        heard, written = joint.enc(encoded), joint.pred(predicted.transpose(1, 2))
        if encoded.is_cuda:
            # All sums are made: adding up the slopes of rows that are chosen many times over is slow there.
            at = (clip * heard.shape[1] + frame) * written.shape[1] + token
            both = (heard[:, :, None] + written[:, None]).flatten(0, 2).index_select(0, at)
        else:
            at, after = clip * heard.shape[1] + frame, clip * written.shape[1] + token
            both = heard.flatten(0, 1).index_select(0, at) + written.flatten(0, 1).index_select(0, after)
        with torch.autocast(encoded.device.type, torch.bfloat16, enabled=in_bfloat16(encoded.device)):
            logits: torch.Tensor = joint.joint_net(both)
        return logits


def frames_of(columns: Lengths) -> Lengths:
    """How many frames the encoder makes of so many columns: it halves them three times, and rounds up."""
    return -(-columns // 8)


def load(path: Path, labels: Sequence[str], layers: int = 0) -> Recognizer:
    """A model with the weights of a float checkpoint; with more layers than it has, if so many are asked for.

    Raises:
        ValueError: it has more.
    """
    weights = {
        name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()
    }
    model = Recognizer(labels, layers or depth(weights))
    model.load_state_dict(grown(weights, layers) if layers else weights)
    return model


def depth(weights: dict[str, torch.Tensor]) -> int:
    """How many layers the encoder has whose weights are given."""
    return 1 + max((int(found[2]) for name in weights if (found := LAYER.fullmatch(name))), default=-1)


def grown(weights: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """The weights of an encoder of so many layers: new ones, spread evenly, pass on what they are given.

    A new one is the one before it with its last products zero, and with a last norm that gives a frame the
    size and the mean that it had: what was learnt is nearly kept. Source of the idea: Chen et al., Net2Net
    (2016).

    Raises:
        ValueError: there are more than `layers`.
    """
    held = depth(weights)
    if layers < held:
        raise ValueError(f"an encoder of {held} layers can't shrink to {layers}")
    larger = {}
    for name, value in weights.items():
        if found := LAYER.fullmatch(name):
            first, following = (layers * number // held for number in (int(found[2]), int(found[2]) + 1))
            larger[f"{found[1]}{first}{found[3]}"] = value
            for number in range(first + 1, following):
                larger[f"{found[1]}{number}{found[3]}"] = _passing(name, weights)
        else:
            larger[name] = value
    return larger


def _passing(name: str, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """The weights of that name, for a layer that passes on what it is given."""
    value = weights[name]
    if LAST_PRODUCT.search(name):
        return torch.zeros_like(value)
    if name.endswith(".norm_out.weight"):
        spread = weights[name.replace(".weight", ".bias")].var(correction=0)
        return torch.full_like(value, float((value.square().mean() + spread).sqrt()))
    if name.endswith(".norm_out.bias"):
        return torch.full_like(value, float(value.mean()))
    return value.clone()


def save(model: nn.Module, path: Path) -> None:
    """Write the weights as float16: half the size, and far finer than INT8."""
    state = model.state_dict()
    save_file(
        {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in state.items()}, path
    )


def read_labels(vocabulary: Path) -> list[str]:
    """The pieces of a vocab.txt, without the blank."""
    return [line.rsplit(" ", 1)[0] for line in vocabulary.read_text("utf-8").splitlines()][:-1]


def layout() -> str:
    """The config.json of the onnx-asr layout."""
    return json.dumps(
        {
            "model_type": "nemo-conformer-tdt",
            "features_size": MELS,
            "subsampling_factor": 8,
            "max_tokens_per_step": MAX_SYMBOLS,
        }
    )


def _configuration(labels: list[str], layers: int) -> dict[str, Any]:
    nemo = "nemo.collections.asr.modules."
    return {
        "sample_rate": 16000,
        "labels": labels,
        "model_defaults": {
            "enc_hidden": WIDTH,
            "pred_hidden": HIDDEN,
            "joint_hidden": HIDDEN,
            "tdt_durations": list(DURATIONS),
            "num_tdt_durations": len(DURATIONS),
        },
        "train_ds": None,
        "validation_ds": None,
        "test_ds": None,
        "preprocessor": {
            "_target_": nemo + "AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": MELS,
            "n_fft": 512,
            "pad_to": 0,
        },
        "encoder": {
            "_target_": nemo + "ConformerEncoder",
            "feat_in": MELS,
            "feat_out": -1,
            "n_layers": layers,
            "d_model": WIDTH,
            "use_bias": False,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": CHANNELS,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": HEADS,
            "att_context_size": [-1, -1],
            "xscaling": False,
            "untie_biases": True,
            "pos_emb_max_len": 1000,
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
            "dropout": DROPOUT,
            "dropout_pre_encoder": DROPOUT,
            "dropout_emb": 0.0,
            "dropout_att": DROPOUT,
        },
        "decoder": {
            "_target_": nemo + "RNNTDecoder",
            "blank_as_pad": True,
            "vocab_size": len(labels),
            "prednet": {"pred_hidden": HIDDEN, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.1},
        },
        "joint": {
            "_target_": nemo + "RNNTJoint",
            "log_softmax": False,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "num_classes": len(labels),
            "vocabulary": labels,
            "num_extra_outputs": len(DURATIONS),
            "jointnet": {
                "joint_hidden": HIDDEN,
                "activation": "relu",
                "dropout": 0.0,
                "encoder_hidden": WIDTH,
                "pred_hidden": HIDDEN,
            },
        },
        "decoding": {
            "strategy": "greedy_batch",
            "model_type": "tdt",
            "durations": list(DURATIONS),
            "greedy": {"max_symbols": MAX_SYMBOLS},
        },
        "loss": {"loss_name": "tdt", "tdt_kwargs": {"durations": list(DURATIONS), "sigma": SIGMA}},
    }
