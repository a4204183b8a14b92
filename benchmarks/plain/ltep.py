"""LTE+ as published (jaewon-lee-b/lte@a8815d6 models/ltep.py:39-40): four passes of 1x1 convolutions over a grid.
Wasted: both 3x3 convolutions of the LR features again for each chunk; the maps sampled by coordinate in every pass."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import Plain, bilinear, conv3, corners, nearest, offset_map, place_maps, pointwise_all, scaled, shares


def waves(decoder, frequency: Tensor, offset: Tensor, relative: Tensor) -> Tensor:  # (B, width, H, W)
    "Cosines and sines: frequency (B, width, H, W) first half down, second across; offset (B, 2, H, W); cell (B, 2)."
    pairs = torch.stack(frequency.chunk(2, 1), 2)  # (B, width / 2, 2, H, W)
    angle = (pairs * offset[:, None]).sum(2)
    angle = angle + F.linear(relative, decoder.phase.weight)[..., None, None]
    return torch.cat([torch.cos(math.pi * angle), torch.sin(math.pi * angle)], 1)


class PlainLTEPlus(Plain):
    chunk, unit = 256, "rows"  # its test takes the whole picture at once; LINF's, the same form, 256 rows

    def query(self, state: tuple[Tensor, Tensor], coord: Tensor, cell: Tensor) -> Tensor:
        features, image = state
        size = tuple(features.shape[-2:])
        coef, freq = conv3(self.decoder.coef, features), conv3(self.decoder.freq, features)
        centre = place_maps(features, coord)
        answers, areas = [], []
        for moved in corners(coord, size):
            amplitude, frequency = nearest(coef, moved), nearest(freq, moved)
            offset = offset_map(coord, nearest(centre, moved), size)
            wave = waves(self.decoder, frequency, offset, scaled(cell, size))
            answers.append(pointwise_all(self.decoder.layers, amplitude * wave))
            areas.append((offset[:, 0] * offset[:, 1]).abs() + self.area)
        out = 0
        for answer, share in zip(answers, shares(areas), strict=True):
            out = out + answer * share[:, None]
        return out + bilinear(image, coord)
