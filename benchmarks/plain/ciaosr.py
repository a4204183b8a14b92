"""CiaoSR as published (caojiezhang/CiaoSR@adac6df mmedited/models/backbones/sr_backbones/ciaosr_net.py:132-139).
Wasted: three unfoldings and the cross-scale attention again for each chunk; full inputs into every first layer."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import Plain, as_map, bilinear, dense, nearest, place_maps, scaled, unfold3


def one_by_one(pair, x: Tensor) -> Tensor:
    "A 1x1 convolution and PReLU."
    return F.prelu(F.conv2d(x, pair[0].weight, pair[0].bias), pair[1].weight)


def cross_scale(attention, features: Tensor, s: int) -> Tensor:  # (B, C, h, w)
    "All patches against all keys of the picture made smaller by s: hw/s^2 x hw scores at once."
    h, w = features.shape[-2:]
    padded = F.pad(features, (0, -w % s, 0, -h % s), mode="reflect") if h % s or w % s else features
    channels = padded.shape[1]
    asked = one_by_one(attention.conv_match_1, padded)
    small = F.interpolate(padded, scale_factor=1 / s, mode="bilinear", align_corners=False)
    keys = F.unfold(one_by_one(attention.conv_match_2, small), 3, padding=1)  # (B, 9 C/2, keys)
    values = F.unfold(one_by_one(attention.conv_assembly, padded), 3 * s, stride=s, padding=s)  # (B, 9 s s C, keys)
    found = []
    for k in range(len(features)):  # picture by picture
        kernel = keys[k].T.reshape(-1, channels // 2, 3, 3)
        kernel = kernel / kernel.flatten(1).norm(dim=1).clamp(min=1e-4)[:, None, None, None]
        scores = F.conv2d(asked[k : k + 1], kernel, padding=1)  # (1, keys, h, w)
        kernel = values[k].T.reshape(-1, channels, 3 * s, 3 * s)
        found.append(F.conv_transpose2d(F.softmax(10 * scores, 1), kernel, stride=s, padding=s))
    down = getattr(attention, attention.name_of(s))
    return (F.conv2d(torch.cat(found), down.weight, down.bias, stride=s, padding=1) / 6)[..., :h, :w]


class PlainCiaoSR(Plain):
    def __init__(self, decoder):
        super().__init__(decoder)
        if not decoder.unfold:
            raise ValueError("plain CiaoSR unfolds, as published")

    def query(self, state: tuple[Tensor, Tensor], coord: Tensor, cell: Tensor) -> Tensor:
        features, image = state
        at, (h, w), attention = coord.flatten(1, 2), features.shape[-2:], self.decoder.cs_attn  # (B, Q, 2)
        cells = torch.ones_like(at) * cell[:, None]
        asked_maps, key_maps, value_maps = unfold3(features), unfold3(features), unfold3(features)
        if attention is not None:
            value_maps = torch.cat([value_maps, *(cross_scale(attention, features, s) for s in attention.scales)], 1)
        centre, asked = place_maps(features, coord), nearest(asked_maps, at)  # (B, Q, 576): no shift, no clamp
        keys, values = [], []
        for down, across in self.ways():
            moved = at.clone()
            if down:
                moved[..., 0] += down * (1 - cells[..., 0]) / (h - 1) + 1e-6
            if across:
                moved[..., 1] += across * (1 - cells[..., 1]) / (w - 1) + 1e-6
            moved = moved.clamp(-1 + 1e-6, 1 - 1e-6)
            key, value = nearest(key_maps, moved), nearest(value_maps, moved)
            place = torch.cat([scaled(at - nearest(centre, moved), (h, w)), scaled(cells, (h, w))], -1)
            for mlp, rows, into in ((self.decoder.imnet_k, key, keys), (self.decoder.imnet_v, value, values)):
                inputs = torch.cat([rows, place], -1).flatten(0, 1)
                into.append(rows * dense(mlp.layers, inputs).unflatten(0, at.shape[:2]))
        scores = torch.matmul(asked[:, :, None], torch.stack(keys, -1))  # (B, Q, 1, neighbours)
        share = F.softmax(scores / self.decoder.softmax_scale, -1)
        x = torch.matmul(share, torch.stack(values, -2))[:, :, 0]  # (B, Q, 640)
        out = dense(self.decoder.imnet_q.layers, x.flatten(0, 1)).unflatten(0, at.shape[:2])
        return as_map(out + bilinear(image, at), coord)

    def ways(self) -> list[tuple[int, int]]:
        "Which neighbours, as steps down and across."
        along = {1: (0,), 2: (-1, 1), 3: (-1, 0, 1)}[self.decoder.side]
        return [(down, across) for down in along for across in along]
