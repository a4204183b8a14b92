"""LTE as published (jaewon-lee-b/lte@a8815d6 models/lte.py): two convolutions a picture, four passes with an MLP each.
Wasted: both maps sampled by coordinate in every pass, frequencies cut into pairs, the cell's phase for every query."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import Plain, as_map, bilinear, conv3, corners, dense, nearest, place_maps, scaled, shares


class PlainLTE(Plain):
    def generate(self, features: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        return conv3(self.decoder.coef, features), conv3(self.decoder.freq, features), place_maps(image, image), image

    def query(self, state: tuple[Tensor, ...], coord: Tensor, cell: Tensor) -> Tensor:
        coef, freq, centre, image = state
        at, size = coord.flatten(1, 2), tuple(coef.shape[-2:])  # (B, Q, 2)
        cells = torch.ones_like(at) * cell[:, None]
        answers, areas = [], []
        for moved in corners(at, size):
            amplitude, frequency = nearest(coef, moved), nearest(freq, moved)  # (B, Q, width)
            offset = scaled(at - nearest(centre, moved), size)
            pairs = torch.stack(frequency.split(2, -1), -1)  # (B, Q, 2, width / 2)
            angle = (pairs * offset[..., None]).sum(-2)
            angle = angle + F.linear(scaled(cells, size), self.decoder.phase.weight)
            wave = torch.cat([torch.cos(math.pi * angle), torch.sin(math.pi * angle)], -1)
            inputs = (amplitude * wave).flatten(0, 1)
            answers.append(dense(self.decoder.imnet.layers, inputs).unflatten(0, at.shape[:2]))
            areas.append((offset[..., 0] * offset[..., 1]).abs() + self.area)
        out = 0
        for answer, share in zip(answers, shares(areas), strict=True):
            out = out + answer * share[..., None]
        return as_map(out + bilinear(image, at), coord)
