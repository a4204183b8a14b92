"""LINF as published (JNNNNYao/LINF@d911a5a models/linf.py:118-119, flow.py:120): waves of four corners steer a flow.
Wasted: both 3x3 convolutions again for each chunk; noise times 0; each flow layer solves anew by a fixed matrix."""

import torch
from torch import Tensor

from .common import Plain, bilinear, conv3, corners, nearest, offset_map, place_maps, pointwise_all, scaled, shares
from .ltep import waves


class PlainLINF(Plain):
    chunk, unit = 256, "rows"

    def __init__(self, decoder):
        super().__init__(decoder)
        if decoder.patch != 1:
            raise ValueError("plain LINF draws pixels, not patches")

    def query(self, state: tuple[Tensor, Tensor], coord: Tensor, cell: Tensor) -> Tensor:
        features, image = state
        size = tuple(features.shape[-2:])
        coef, freq = conv3(self.decoder.coef, features), conv3(self.decoder.freq, features)
        centre = place_maps(features, coord)
        amplitudes, basis, areas = [], [], []
        for moved in corners(coord, size):
            offset = offset_map(coord, nearest(centre, moved), size)
            amplitudes.append(nearest(coef, moved))
            basis.append(waves(self.decoder, nearest(freq, moved), offset, scaled(cell, size)))
            areas.append((offset[:, 0] * offset[:, 1]).abs() + self.area)
        parts = zip(amplitudes, basis, shares(areas), strict=True)
        x = torch.cat([share[:, None] * amplitude * wave for amplitude, wave, share in parts], 1)  # (B, 4 width, H, W)
        steering = pointwise_all(self.decoder.layers, x).permute(0, 2, 3, 1).flatten(0, 2)  # (N, 6 flow layers)
        noise = torch.randn(len(steering), 3, dtype=steering.dtype, device=steering.device)
        colour = self.draw(noise * self.decoder.temperature, steering)
        colour = colour.reshape(*coord.shape[:3], 3).permute(0, 3, 1, 2)
        return colour + bilinear(image, coord)

    def draw(self, z: Tensor, steering: Tensor) -> Tensor:  # (N, 3)
        "The flow backwards, layer by layer."
        flow = self.decoder.imnet
        x = torch.linalg.solve(flow.last._weight, (z - flow.last.bias).T).T
        for mix, part in zip(reversed(flow.linears), reversed(steering.split(6, -1)), strict=True):
            x = (x - part[:, 3:]) / (torch.sigmoid(part[:, :3] + 2) + 1e-4)
            x = torch.linalg.solve(mix._weight, (x - mix.bias).T).T
        return x
