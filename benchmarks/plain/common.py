"What the plain forms share: places, nearest samples, shares of the corners, layers by their formula."

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Plain:
    "The published structure of a decoder, on the parameters of ours (the same tensors)."

    chunk, unit = 30_000, "queries"  # asked at once in the published test: queries, or rows of the target
    area = 1e-9  # added to every area; ours adds nothing

    def __init__(self, decoder: nn.Module):
        self.decoder = decoder

    def generate(self, features: Tensor, image: Tensor):
        "Once a picture: features (B, C, h, w), image (B, 3, h, w) in network units."
        return features, image

    def query(self, state, coord: Tensor, cell: Tensor) -> Tensor:
        "Once a chunk: coord (B, H, W, 2), cell (B, 2) as the network is to see it -> (B, 3, H, W) in network units."
        raise NotImplementedError


def centres(n: int, like: Tensor) -> Tensor:  # (n,)
    "Pixel centres along one axis, rounded as published."
    return (-1 + 1 / n) + 2 / n * torch.arange(n, dtype=like.dtype, device=like.device)


def places(size: tuple[int, int], like: Tensor) -> Tensor:  # (h, w, 2)
    "Centres (y, x) of all pixels."
    return torch.stack(torch.meshgrid(*(centres(n, like) for n in size), indexing="ij"), -1)


def place_maps(features: Tensor, like: Tensor) -> Tensor:  # (B, 2, h, w)
    "The same as maps that can be sampled, of features (B, C, h, w), in the precision of `like`."
    batch, _, h, w = features.shape
    return places((h, w), like).permute(2, 0, 1)[None].expand(batch, 2, h, w)


def corners(coord: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    "The coordinates (..., 2) moved by half an LR pixel up or down and left or right: --, -+, +-, ++."
    for down in (-1, 1):
        for across in (-1, 1):
            moved = coord.clone()
            moved[..., 0] += down / size[0] + 1e-6
            moved[..., 1] += across / size[1] + 1e-6
            yield moved.clamp_(-1 + 1e-6, 1 - 1e-6)


def nearest(maps: Tensor, at: Tensor) -> Tensor:
    "Nearest pixel of (B, C, h, w): at (B, H, W, 2) -> (B, C, H, W), or at (B, Q, 2) -> (B, Q, C)."
    if at.ndim == 4:
        return F.grid_sample(maps, at.flip(-1), mode="nearest", align_corners=False)
    return nearest(maps, at[:, None])[:, :, 0].permute(0, 2, 1)


def bilinear(image: Tensor, at: Tensor) -> Tensor:
    "The picture between pixels, edges repeated; shapes as `nearest`."
    if at.ndim == 4:
        return F.grid_sample(image, at.flip(-1), mode="bilinear", padding_mode="border", align_corners=False)
    return bilinear(image, at[:, None])[:, :, 0].permute(0, 2, 1)


def scaled(pair: Tensor, size: tuple[float, float], dim: int = -1) -> Tensor:
    "(y, x) along `dim` times (h, w)."
    pair = pair.clone()
    for axis, n in enumerate(size):
        pair.select(dim, axis).mul_(n)
    return pair


def offset_map(coord: Tensor, centre: Tensor, size: tuple[float, float]) -> Tensor:  # (B, 2, H, W)
    "Query minus centre, times (h, w): coord (B, H, W, 2), centre (B, 2, H, W)."
    return scaled(coord.permute(0, 3, 1, 2) - centre, size, 1)


def shares(areas: list[Tensor]) -> list[Tensor]:
    "What each corner counts: the area of the one opposite, over their sum."
    total = torch.stack(areas).sum(0)
    return [area / total for area in reversed(areas)]


def as_map(rows: Tensor, like: Tensor) -> Tensor:  # (B, 3, H, W)
    "Colours (B, Q, 3) as laid out in coord (B, H, W, 2)."
    return rows.permute(0, 2, 1).reshape(len(rows), 3, *like.shape[1:3])


def dense(layers: nn.Sequential, x: Tensor) -> Tensor:  # (N, inputs) -> (N, outputs)
    "Linear layers with ReLU between."
    for layer in layers:
        x = F.relu(x) if isinstance(layer, nn.ReLU) else F.linear(x, layer.weight, layer.bias)
    return x


def pointwise(layer: nn.Linear, x: Tensor) -> Tensor:  # (B, inputs, H, W) -> (B, outputs, H, W)
    "A linear layer as the 1x1 convolution that it is in the published code."
    return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)


def pointwise_all(layers: nn.Sequential, x: Tensor) -> Tensor:
    "1x1 convolutions with ReLU between."
    for layer in layers:
        x = F.relu(x) if isinstance(layer, nn.ReLU) else pointwise(layer, x)
    return x


def conv3(layer: nn.Conv2d, x: Tensor) -> Tensor:
    "A 3x3 convolution that keeps the size."
    return F.conv2d(x, layer.weight, layer.bias, padding=1)


def unfold3(features: Tensor) -> Tensor:  # (B, 9 C, h, w)
    "The 3x3 features around each pixel, zero beyond the border."
    batch, channels, h, w = features.shape
    return F.unfold(features, 3, padding=1).view(batch, channels * 9, h, w)
