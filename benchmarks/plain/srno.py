"""SRNO as published (2y7c3/Super-Resolution-Neural-Operator@92b777a models/sronet.py, test.py:24): queries attend.
Wasted: 256 of the first layer's 266 inputs are linear in features of LR pixels; a q projection that folds away."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import Plain, bilinear, corners, nearest, offset_map, place_maps, pointwise, scaled, shares


def head_norm(norm, u: Tensor) -> Tensor:  # (B, heads, N, c)
    "Over each head's channels, by the unbiased deviation."
    return norm.weight * ((u - u.mean(-1, keepdim=True)) / (u.std(-1, keepdim=True) + 1e-5)) + norm.bias


class PlainSRNO(Plain):
    chunk, unit = 500, "rows"  # in validation; the test takes the whole picture

    def query(self, state: tuple[Tensor, Tensor], coord: Tensor, cell: Tensor) -> Tensor:
        features, image = state
        size, centre = tuple(features.shape[-2:]), place_maps(features, coord)
        offsets, near, areas = [], [], []
        for moved in corners(coord, size):
            near.append(nearest(features, moved))
            offsets.append(offset_map(coord, nearest(centre, moved), size))
            areas.append((offsets[-1][:, 0] * offsets[-1][:, 1]).abs() + self.area)
        near = [feature * share[:, None] for feature, share in zip(near, shares(areas), strict=True)]
        cells = scaled(cell, size)[..., None, None].expand(-1, -1, *coord.shape[1:3])
        x = pointwise(self.decoder.conv00, torch.cat([*offsets, *near, cells], 1))  # from 8 + 4 * 64 + 2 channels
        for layer in (self.decoder.conv0, self.decoder.conv1):
            x = self.attend(layer, x)
        return pointwise(self.decoder.fc2, F.gelu(pointwise(self.decoder.fc1, x))) + bilinear(image, coord)

    @staticmethod
    def attend(layer, x: Tensor) -> Tensor:  # (B, width, H, W)
        batch, width, height, across = x.shape
        qkv = pointwise(layer.qkv_proj, x).permute(0, 2, 3, 1).reshape(batch, height * across, layer.heads, -1)
        q, k, v = qkv.permute(0, 2, 1, 3).chunk(3, -1)  # (B, heads, N, c)
        k, v = head_norm(layer.kln, k), head_norm(layer.vln, v)
        mean = torch.matmul(k.transpose(-2, -1), v) / (height * across)  # (B, heads, c, c)
        seen = torch.matmul(q, mean).permute(0, 2, 1, 3).reshape(batch, height, across, width).permute(0, 3, 1, 2)
        return pointwise(layer.o_proj2, F.gelu(pointwise(layer.o_proj1, seen + x))) + x
