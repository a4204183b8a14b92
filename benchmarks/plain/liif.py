"""LIIF as published (yinboc/liif@4c833f8 models/liif.py:47): four passes, each a full MLP over 580 inputs a query.
Wasted: 3x3 unfolding and pixel places again for each chunk; 576 of the 580 inputs depend on the LR pixel alone."""

import torch
from torch import Tensor

from .common import Plain, as_map, corners, dense, nearest, place_maps, scaled, shares, unfold3


class PlainLIIF(Plain):
    def __init__(self, decoder):
        super().__init__(decoder)
        if decoder.imnet is None or not (decoder.unfold and decoder.ensemble and decoder.cell):
            raise ValueError("plain LIIF is the published default: unfold, ensemble, cell, an MLP")

    def generate(self, features: Tensor, image: Tensor) -> Tensor:
        return features

    def query(self, features: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        at, size = coord.flatten(1, 2), tuple(features.shape[-2:])  # (B, Q, 2)
        cells = torch.ones_like(at) * cell[:, None]
        wide, centre = unfold3(features), place_maps(features, coord)
        answers, areas = [], []
        for moved in corners(at, size):
            feature = nearest(wide, moved)  # (B, Q, 576)
            offset = scaled(at - nearest(centre, moved), size)
            inputs = torch.cat([feature, offset, scaled(cells, size)], -1)  # (B, Q, 580)
            answers.append(dense(self.decoder.imnet.layers, inputs.flatten(0, 1)).unflatten(0, at.shape[:2]))
            areas.append((offset[..., 0] * offset[..., 1]).abs() + self.area)
        out = 0
        for answer, share in zip(answers, shares(areas), strict=True):
            out = out + answer * share[..., None]
        return as_map(out, coord)
