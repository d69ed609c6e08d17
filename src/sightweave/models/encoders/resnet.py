"""Residual convolutional network as published, for pretrained weights; its batch norms use stored statistics only.

Deep Residual Learning for Image Recognition (He et al. 2015, arXiv:1512.03385), with the stride of a bottleneck in its
3x3 convolution. Differs from the paper: norms do not use batch statistics, so that the features of an image do not
depend on the rest of the batch; and without pretrained weights each layer is initialised to its shortcut (Goyal et al.
2017, arXiv:1706.02677, section 5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.encoders._base import Encoder
from sightweave.models.nn.convolution import to_channels_last
from sightweave.models.nn.init import initialise

Form = Literal["basic", "bottleneck"]
_REDUCTION = 4
"""Ratio of a bottleneck's output width to its inner width."""


@config
class Config:
    """Sizes of the network; the defaults are those of ResNet-18."""

    image_size: int = 96
    """Side of the input image, in pixels."""
    stem_dim: int = 64
    """Channels after the first convolution."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of each stage; the last is Dv."""
    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Number of residual layers in each stage; every stage after the first halves the grid."""
    form: Form = "basic"
    """Residual layer: basic (two 3x3 convolutions) or bottleneck (1x1, 3x3 and 1x1)."""
    halves_first: bool = False
    """Whether the first stage also halves the grid."""

    def build(self) -> ResNet:
        """Builds the encoder."""
        return ResNet(
            image_size=self.image_size,
            stem_dim=self.stem_dim,
            widths=self.widths,
            depths=self.depths,
            form=self.form,
            halves_first=self.halves_first,
        )


class ResNet(Encoder):
    """Maps images to a grid with one feature per square of ``2 ** (stages + 1)`` pixels a side.

    Args:
        image_size: Side of the input image, in pixels.
        stem_dim: Channels after the first convolution, which halves the grid; the pooling after it halves it again.
        widths: Channels of each stage; the last is Dv.
        depths: Number of residual layers in each stage.
        form: ``basic`` or ``bottleneck``.
        halves_first: Whether the first stage halves the grid, as the others do.

    Raises:
        ValueError: `widths` and `depths` have different lengths or a number below 1, the width of a bottleneck is not a
            multiple of 4, or the form is unknown.
    """

    def __init__(
        self,
        *,
        image_size: int,
        stem_dim: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        form: Form = "basic",
        halves_first: bool = False,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths) or min((*widths, *depths), default=0) < 1:
            raise ValueError(
                f"widths {widths} and depths {depths} must have the same number of stages, at least one, with "
                "values of 1 or more."
            )
        self.image_size, self.dim = image_size, widths[-1]
        self.stem = nn.Conv2d(3, stem_dim, 7, stride=2, padding=3, bias=False)
        self.stem_norm = FrozenBatchNorm(stem_dim)

        strides = [2 if halves_first else 1] + [2] * (len(widths) - 1)
        self.stages = nn.ModuleList()
        for inputs, outputs, depth, stride in zip((stem_dim, *widths), widths, depths, strides, strict=False):
            layers = [Layer(inputs, outputs, stride=stride, form=form)]
            layers += [Layer(outputs, outputs, stride=1, form=form) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*layers))

        self.side = image_size
        for stride in (2, 2, *strides):
            self.side = -(-self.side // stride)
        initialise(self)

    def grid(self, size: Sequence[int] | None = None) -> tuple[int, int, int]:
        """The grid (1, `side`, `side`), which is the same for all images."""
        return (1, self.side, self.side)

    def forward(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Features:
        """Encodes images."""
        x = F.relu(self.stem_norm(self.stem(to_channels_last(pixels))))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)  # I Dv h w
        return Features(x.flatten(2).transpose(1, 2).contiguous(), self.grid())


class Layer(nn.Module):
    """A residual layer ``relu(shortcut(x) + convolutions(x))``, with a norm after each convolution and a ReLU between two.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Stride; 2 halves the grid.
        form: ``basic`` or ``bottleneck``.

    Raises:
        ValueError: the width of a bottleneck is not a multiple of 4, or the form is unknown.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, form: Form) -> None:
        super().__init__()
        if form not in ("basic", "bottleneck"):
            raise ValueError(f"form must be 'basic' or 'bottleneck' (got {form!r}).")
        if form == "bottleneck" and outputs % _REDUCTION:
            raise ValueError(f"the width of a bottleneck must be a multiple of {_REDUCTION} (got {outputs}).")
        inner = outputs // _REDUCTION
        shapes = {
            "basic": [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)],
            "bottleneck": [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1)],
        }
        self.convolutions = nn.ModuleList(_convolution(*shape) for shape in shapes[form])
        self.norms = nn.ModuleList(FrozenBatchNorm(shape[1]) for shape in shapes[form])
        nn.init.zeros_(self.norms[-1].weight)  # type: ignore[arg-type]  # ModuleList forgets the type
        changes = stride > 1 or inputs != outputs
        self.shortcut = _convolution(inputs, outputs, 1, stride) if changes else None
        self.shortcut_norm = FrozenBatchNorm(outputs) if changes else None

    def forward(self, x: Float[Tensor, "I C H W"]) -> Float[Tensor, "I K h w"]:
        """Adds the output of the convolutions to the shortcut."""
        found = x
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            found = norm(convolution(F.relu(found) if index else found))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return F.relu(x + found)


class FrozenBatchNorm(nn.BatchNorm2d):
    """A batch norm that never updates its statistics; its scale and shift are trained like other weights."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode, because batch statistics would mix images."""
        return super().train(False)


def _convolution(inputs: int, outputs: int, side: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)
