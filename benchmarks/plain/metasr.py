"""MetaSR as published (yinboc/liif@4c833f8 models/misc.py:33): predicts a 576 x 3 filter for each query and applies it.
Wasted: 3x3 unfolding again for each chunk; 1728 numbers a query, though one 3x3 convolution holds all products."""

import torch
from torch import Tensor

from .common import Plain, as_map, dense, nearest, place_maps, scaled, unfold3


class PlainMetaSR(Plain):
    def generate(self, features: Tensor, image: Tensor) -> Tensor:
        return features

    def query(self, features: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        at, (h, w) = coord.flatten(1, 2), features.shape[-2:]  # (B, Q, 2)
        cells = torch.ones_like(at) * cell[:, None]
        wide, corner = unfold3(features), place_maps(features, coord).clone()
        corner[:, 0] -= 1 / h  # places of the pixels' first corners
        corner[:, 1] -= 1 / w
        place = at - cells / 2
        moved = (place + 1e-6).clamp(-1 + 1e-6, 1 - 1e-6)
        feature = nearest(wide, moved)  # (B, Q, 576)
        offset = scaled(place - nearest(corner, moved), (h / 2, w / 2))
        inputs = torch.cat([offset, cells[..., :1] * (h / 2)], -1).flatten(0, 1)
        filters = dense(self.decoder.imnet.layers, inputs).view(len(inputs), -1, 3)  # (N, 576, 3)
        out = torch.bmm(feature.reshape(len(inputs), 1, -1), filters)
        return as_map(out.view(*at.shape[:2], 3), coord)
