"""The native CPU kernels beside torch's own operations: medians of interleaved runs, in microseconds, and ratios.

    python benchmarks/kernels.py [linear] [encoder] [attention] [rows] [--threads N] [--seconds S]

`linear` walks through more weights than the caches hold, as a decoding step does; `encoder` keeps one weight, as a pass
over many rows does, and compares every exact fp32 path that torch has. A ratio above 1 means that ours is faster.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from enfold.nn import kernels
from enfold.nn import kernels_plain as plain

SMOLLM = [(576, 960), (576, 576), (576, 3072), (1536, 576), (576, 49152)]
LARGER = [(768, 3072), (3072, 768), (4096, 11008)]
MINILM = [(384, 1152), (384, 384), (384, 1536), (1536, 384)]


def medians(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median microseconds of each call, run in turns for about `seconds` in all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    # One thread's own processor time is the steadier clock where other processes share the machine.
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 5:
        for name, call in calls.items():
            start = clock()
            call()
            times[name].append(clock() - start)
    return {name: statistics.median(found) * 1e6 for name, found in times.items()}


def show(label: str, found: dict[str, float], note: str = "") -> None:
    ours = found["ours"]
    rest = "".join(f"  {name} {us:9.1f} ({us / ours:5.2f})" for name, us in found.items() if name != "ours")
    print(f"{label:34s} ours {ours:9.1f}{rest}  {note}", flush=True)


def walk(run: Callable[[Tensor], object], weights: Sequence[Tensor]) -> Callable[[], None]:
    def all_weights() -> None:
        for weight in weights:
            run(weight)

    return all_weights


def linear(seconds: float) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        for K, N in SMOLLM + LARGER:
            count = max(1, min(60, int(1.5e8 / (N * K * dtype.itemsize))))
            weights = [torch.randn(N, K).to(dtype) for _ in range(count)]
            for M in (1, 2, 4, 8, 16, 32, 64):
                x = torch.randn(M, K).to(dtype)
                calls = {"ours": lambda w, x=x: kernels.linear(x, w), "torch": lambda w, x=x: F.linear(x, w)}
                found = medians({name: walk(call, weights) for name, call in calls.items()}, seconds)
                found = {name: us / count for name, us in found.items()}
                speed = N * K * dtype.itemsize / found["ours"] / 1e3
                show(f"{str(dtype)[6:]} {K}→{N} M={M}", found, f"{speed:.1f} GB/s of weights")


def encoder(seconds: float) -> None:
    for K, N in [*MINILM, (768, 3072)]:
        one_weight(K, N, seconds)


def one_weight(K: int, N: int, seconds: float) -> None:
    onednn = torch.ops.mkldnn._linear_pointwise
    weight, bias = torch.randn(N, K), torch.randn(N)
    turned = weight.t().contiguous()
    for M in (1, 8, 20, 64, 256, 1024, 4096):
        x = torch.randn(M, K)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, M)
        calls = {
            "ours": lambda x=x: kernels.linear(x, weight, bias),
            "torch": lambda x=x: F.linear(x, weight, bias),
            "addmm of [K, N]": lambda x=x: torch.addmm(bias, x, turned),
            "oneDNN": lambda x=x: onednn(x, weight, bias, "none", [], ""),
            "oneDNN packed": lambda x=x, packed=packed: onednn(x, packed, bias, "none", [], ""),
        }
        found = medians(calls, seconds)
        show(f"{K}→{N} M={M}", found, f"{2 * M * N * K / found['ours'] / 1e3:.0f} GFLOP/s")
        calls = {
            "ours": lambda x=x: kernels.linear(x, weight, bias, "gelu"),
            "torch": lambda x=x: F.gelu(F.linear(x, weight, bias)),
            "oneDNN packed": lambda x=x, packed=packed: onednn(x, packed, bias, "gelu", [], "none"),
        }
        show(f"{K}→{N} M={M} gelu", medians(calls, seconds))


def attention(seconds: float) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        for B, H, Hkv, d, length in [
            (1, 9, 3, 64, 32),
            (1, 9, 3, 64, 160),
            (16, 9, 3, 64, 160),
            (1, 32, 8, 128, 2000),
            (8, 12, 12, 64, 100),
        ]:
            q, k, v = (torch.randn(B, h, n, d).to(dtype) for h, n in ((H, 1), (Hkv, length), (Hkv, length)))
            lengths = torch.full((B,), length)
            calls = {
                "ours": lambda q=q, k=k, v=v, n=lengths: kernels.attend_decode(
                    q[:, :, 0], k, v, n, q.shape[-1] ** -0.5
                ),
                "sdpa": lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
            }
            show(f"{str(dtype)[6:]} decode B={B} {H}/{Hkv}×{d} L={length}", medians(calls, seconds))
        for lengths in (
            [5] * 40,
            [20] * 20,
            [50] * 10,
            [128] * 8,
            [300] * 4,
            [512] * 2,
            [5, 300, 20, 77, 128, 41, 256],
        ):
            offsets = torch.tensor([0, *lengths]).cumsum(0)
            q, k, v = torch.randn(sum(lengths), 3, 12, 32).to(dtype).unbind(1)
            calls = {
                "ours": lambda q=q, k=k, v=v, o=offsets: kernels.attend_packed(q, k, v, o, 32**-0.5),
                "sdpa each": lambda q=q, k=k, v=v, o=offsets: plain.attend_packed(q, k, v, o, 32**-0.5, None, False),
            }
            if len(set(lengths)) == 1:
                calls["sdpa of equal lengths"] = lambda q=q, k=k, v=v, n=lengths[0]: F.scaled_dot_product_attention(
                    *(t.unflatten(0, (-1, n)).transpose(1, 2) for t in (q, k, v))
                )
            name = str(lengths) if len(set(lengths)) > 1 else f"{len(lengths)} × {lengths[0]}"
            show(f"{str(dtype)[6:]} packed {name}", medians(calls, seconds))


def rows(seconds: float) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        for M in (1, 16, 1024):
            x, weight, bias = torch.randn(M, 576).to(dtype), torch.ones(576).to(dtype), torch.zeros(576).to(dtype)
            both, qkv = torch.randn(M, 3072).to(dtype), torch.randn(M, 960).to(dtype)
            table = torch.randn(2048, 64).to(dtype)
            index = torch.arange(M)
            cache = torch.zeros(M, 3, 4, 64, dtype=dtype)
            slots = torch.zeros(M, dtype=torch.int64)
            pairs = {
                "rms_norm": (
                    lambda x=x, w=weight: kernels.rms_norm(x, w, 1e-5),
                    lambda x=x, w=weight: F.rms_norm(x, (576,), w, 1e-5),
                ),
                "layer_norm": (
                    lambda x=x, w=weight, b=bias: kernels.layer_norm(x, w, b, 1e-5),
                    lambda x=x, w=weight, b=bias: F.layer_norm(x, (576,), w, b, 1e-5),
                ),
                "swiglu": (
                    lambda both=both: kernels.swiglu(both),
                    lambda both=both: F.silu(both[:, :1536]) * both[:, 1536:],
                ),
                "rope_store": (
                    lambda a=qkv, t=table, c=cache, s=slots, i=index: kernels.rope_store(a, t, t, c, c, s, positions=i),
                    lambda a=qkv, t=table, c=cache, s=slots, i=index: plain.rope_store(a, t, t, c, c, s, i, None),
                ),
            }
            for name, (ours, torchs) in pairs.items():
                show(f"{str(dtype)[6:]} {name} M={M}", medians({"ours": ours, "torch": torchs}, seconds))


def main(arguments: Sequence[str] = ()) -> None:
    parts = {"linear": linear, "encoder": encoder, "attention": attention, "rows": rows}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=list(parts), metavar="part")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=0.3, help="for each line")
    given = parser.parse_args(list(arguments))
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {given.threads} threads, kernels: {kernels.available()}")
    with torch.inference_mode():
        for part in given.parts:
            print(f"\n{part}: µs, and how many times as long as ours in parentheses")
            parts[part](given.seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
