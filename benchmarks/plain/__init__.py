"""The published structure of eight decoders and EDSR, plainly from their formulas: ours is timed against it.
Each takes our module and computes with its very parameters: p = PLAIN["LIIF"](decoder), then
p.query(p.generate(features, image), coord, cell); a whole picture by `evaluate`, in the published chunks."""

from .ciaosr import PlainCiaoSR
from .common import Plain
from .edsr import edsr
from .evaluation import chunk_count, enlarge, evaluate
from .hiif import PlainHIIF
from .liif import PlainLIIF
from .linf import PlainLINF
from .lte import PlainLTE
from .ltep import PlainLTEPlus
from .metasr import PlainMetaSR
from .srno import PlainSRNO

PLAIN = {
    "LIIF": PlainLIIF,
    "LTE": PlainLTE,
    "LTE+": PlainLTEPlus,
    "MetaSR": PlainMetaSR,
    "LINF": PlainLINF,
    "SRNO": PlainSRNO,
    "HIIF": PlainHIIF,
    "CiaoSR": PlainCiaoSR,
}

__all__ = ["PLAIN", "Plain", "chunk_count", "edsr", "enlarge", "evaluate"]
