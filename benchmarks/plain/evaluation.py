"""A picture enlarged as the published tests do it: all places as one tensor, chunk by chunk, pieces joined at the end.
Wasted: H*W coordinates, though those of a grid are H + W numbers; whatever a method does again for each chunk."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from .common import Plain, places


def chunk_count(p: Plain, size: tuple[int, int], chunk: int | None = None) -> int:
    "How many chunks a picture of this size (H, W) takes."
    return math.ceil((math.prod(size) if p.unit == "queries" else size[0]) / (chunk or p.chunk))


def evaluate(
    p: Plain,
    features: Tensor,  # (B, C, h, w)
    image: Tensor,  # (B, 3, h, w) in network units
    size: tuple[int, int],  # (H, W) of the target
    chunk: int | None = None,  # queries or rows (`p.unit`) at once; default: as published
    only: Iterable[int] | None = None,  # numbers of the chunks to do; default: all
    cell: Tensor | None = None,  # (B, 2) by the caller's policy; default: 2 / size
    state=None,  # of `p.generate`, where that is timed apart
) -> Iterator[Tensor]:  # (B, 3, 1, queries) or (B, 3, rows, W), in network units
    "The answers, chunk by chunk, without gradients."
    with torch.no_grad():
        state = p.generate(features, image) if state is None else state
        grid = places(size, image)[None].expand(len(image), -1, -1, -1)
        coord = grid.reshape(len(image), 1, -1, 2) if p.unit == "queries" else grid.contiguous()
        cell = torch.ones_like(coord[:, 0, 0]) * (2 / coord.new_tensor(size)) if cell is None else cell
    step, dim = chunk or p.chunk, 2 if p.unit == "queries" else 1
    for number in range(chunk_count(p, size, chunk)) if only is None else only:
        with torch.no_grad():
            out = p.query(state, coord.narrow(dim, number * step, min(step, coord.shape[dim] - number * step)), cell)
        yield out


def enlarge(p: Plain, features: Tensor, image: Tensor, size: tuple[int, int], *more, **options) -> Tensor:
    "All chunks, joined: (B, 3, H, W). Takes what `evaluate` takes."
    pieces = list(evaluate(p, features, image, size, *more, **options))
    return torch.cat(pieces, 3 if p.unit == "queries" else 2).reshape(len(image), 3, *size)
