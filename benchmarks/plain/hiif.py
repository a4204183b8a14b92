"""HIIF as in a copy of its code (hello-jinwoo/HIIF@e29d95d models/hiif.py; unverified): one convolution a picture,
then six levels a query. Wasted: 1028 normalised inputs, most of the LR pixel alone; a q projection that folds away."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import Plain, bilinear, conv3, corners, nearest, offset_map, place_maps, scaled, shares


def norm(layer, x: Tensor) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def linear(layer, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


class PlainHIIF(Plain):
    chunk, unit = 300, "rows"  # 100 on DIV2K

    def generate(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        return conv3(self.decoder.freq, features), image

    def query(self, state: tuple[Tensor, Tensor], coord: Tensor, cell: Tensor) -> Tensor:
        maps, image = state
        h, w = size = tuple(maps.shape[-2:])
        half, centre, near, areas, place = (h / 2, w / 2), place_maps(maps, coord), [], [], None
        for moved in corners(coord, size):
            near.append(nearest(maps, moved))
            offset = offset_map(coord, nearest(centre, moved), half)
            areas.append((offset[:, 0] * offset[:, 1]).abs() + self.area)
            if place is None:  # of the first corner alone; digits are those of float32, also where all else is wider
                if coord.dtype != torch.float32:
                    narrow = coord.float()
                    offset = offset_map(narrow, nearest(place_maps(maps, narrow), moved.float()), half)
                place = offset.permute(0, 2, 3, 1).flatten(1, 2)  # (B, N, 2)
        place = torch.where(place > 0, place, torch.tensor([1 / h, 1 / w], device=place.device) - place)
        near = [feature * share[:, None] for feature, share in zip(near, shares(areas), strict=True)]
        cells = scaled(cell, size)[..., None, None].expand(-1, -1, *coord.shape[1:3])
        x = torch.cat([*near, cells], 1).permute(0, 2, 3, 1).flatten(1, 2)  # (B, N, 4 * width + 2)
        for n, level in enumerate(self.decoder.fc_layers):
            digit = torch.floor((place - 1e-9).clamp(0, 1) * 2 ** (n + 1)) % 2
            x = norm(level.norm, torch.cat([x, digit.to(x.dtype)], -1))
            x = linear(level.fc2, F.gelu(linear(level.fc1, x)))
            if n == 0:
                for layer in (self.decoder.conv0, self.decoder.conv1):
                    x = self.attend(layer, x)
        return x.permute(0, 2, 1).reshape(len(x), 3, *coord.shape[1:3]) + bilinear(image, coord)

    @staticmethod
    def attend(layer, x: Tensor) -> Tensor:  # (B, N, width)
        batch, count, width = x.shape
        qkv = linear(layer.qkv_proj, x).reshape(batch, count, layer.heads, -1).permute(0, 2, 1, 3)
        q, k, v = qkv.chunk(3, -1)  # (B, heads, N, c)
        mean = torch.matmul(norm(layer.kln, k).transpose(-2, -1), norm(layer.vln, v)) / count  # (B, heads, c, c)
        seen = torch.matmul(q, mean).permute(0, 2, 1, 3).reshape(batch, count, width)
        return linear(layer.o_proj2, F.gelu(linear(layer.o_proj1, seen + x))) + x
