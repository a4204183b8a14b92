"""EDSR as published (yinboc/liif@4c833f8 models/edsr.py): convolutions one by one in NCHW, float32.
Wasted: a multiplication by 1 in each block; layouts are changed inside every convolution."""

import torch.nn.functional as F
from torch import Tensor, nn

from .common import conv3


def edsr(
    encoder: nn.Module,  # our EDSR, without a tail; its weights in the usual layout, not channels_last
    image: Tensor,  # (B, 3, h, w) in network units
) -> Tensor:  # (B, C, h, w)
    "The features, on the parameters of our encoder."
    if encoder.magnifies != 1 or not encoder.skip:
        raise ValueError("plain EDSR has no tail, and the skip over all blocks")
    start = x = conv3(encoder.head[0], image)
    for block in encoder.body[:-1]:
        change = conv3(block.body[2], F.relu(conv3(block.body[0], x), inplace=True))
        x = change * block.res_scale + x
    return conv3(encoder.body[-1], x) + start
