"""Generation by three sizes of model with random weights, beside transformers and CTranslate2 on the same files.

    python -m benchmarks.generation [gpt2] [llama] [marian] [--dtypes float32 bfloat16 int8] [--quick]

GPT-2 of 124M parameters, a LLaMA of 1.1B, Marian's base size; one prompt and 16 of mixed length; greedy, and 4 beams.
int8 stands beside transformers' fp32, which has no int8 on CPUs. CTranslate2 is measured where it is installed.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import alternate, table

PROMPT, SOURCE = (32, range(8, 72, 4)), (24, range(8, 56, 3))  # tokens of one prompt, and of each of 16


def configurations() -> dict[str, Any]:
    """The reference library's configurations of three sizes."""
    import transformers

    end = {"eos_token_id": 0, "pad_token_id": 0}
    return {
        "gpt2": transformers.GPT2Config(**end, bos_token_id=0),
        "llama": transformers.LlamaConfig(
            hidden_size=2048,
            num_hidden_layers=22,
            num_attention_heads=32,
            num_key_value_heads=4,
            intermediate_size=5632,
            vocab_size=32000,
            **end,
        ),
        "marian": transformers.MarianConfig(
            vocab_size=58101,
            d_model=512,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=8,
            decoder_attention_heads=8,
            encoder_ffn_dim=2048,
            decoder_ffn_dim=2048,
            activation_function="swish",
            scale_embedding=True,
            static_position_embeddings=True,
            max_position_embeddings=512,
            decoder_start_token_id=58100,
            forced_eos_token_id=None,
            eos_token_id=0,
            pad_token_id=58100,
        ),
    }


class Numbers:
    """A vocabulary of numbers, all that the conversion to CTranslate2 asks of a tokenizer."""

    bos_token = eos_token = "t0"
    unk_token = "t1"

    def __init__(self, size: int, padding: bool):
        self.tokens = {f"t{i}": i for i in range(size - padding)} | ({"<pad>": size - 1} if padding else {})

    def get_vocab(self) -> dict[str, int]:
        return self.tokens


def converted(folder: str, size: int, padding: bool) -> str | None:
    """The model in CTranslate2's format, or None where that isn't installed."""
    try:
        from ctranslate2.converters import TransformersConverter
    except ImportError:
        return None

    class Converter(TransformersConverter):
        def load_tokenizer(self, *_: Any, **__: Any) -> Numbers:
            return Numbers(size, padding)

    return Converter(folder).convert(folder + "/ctranslate2")


def prompts(rows: int, lengths: tuple[int, range], vocabulary: int, pad: int, left: bool) -> tuple[torch.Tensor, ...]:
    """Random ids, padded where they are shorter than the longest."""
    generator = torch.Generator().manual_seed(0)
    counts = [lengths[0]] if rows == 1 else list(lengths[1])
    ids = torch.randint(2, vocabulary - 2, (rows, max(counts)), generator=generator)
    mask = torch.tensor([[1] * n + [0] * (max(counts) - n) for n in counts])
    mask = mask.flip(1) if left else mask
    return ids.masked_fill(mask == 0, pad), mask


def peer(folder: str, dtype: str, causal: bool) -> Callable[..., Any] | None:
    """CTranslate2's call, (ids, mask, new, beams) → sequences; None where it has no such type."""
    import ctranslate2

    made = ctranslate2.Generator if causal else ctranslate2.Translator
    if dtype not in ctranslate2.get_supported_compute_types("cpu"):
        return None
    model = made(folder, device="cpu", compute_type=dtype, intra_threads=torch.get_num_threads(), inter_threads=1)

    def run(ids: torch.Tensor, mask: torch.Tensor, new: int, beams: int) -> Any:
        texts = [[f"t{i}" for i in row[kept != 0].tolist()] for row, kept in zip(ids, mask, strict=True)]
        if causal:
            options = {"max_length": new, "min_length": new, "include_prompt_in_result": False}
            return model.generate_batch(texts, beam_size=beams, sampling_topk=1, **options)
        return model.translate_batch(texts, beam_size=beams, max_decoding_length=new, min_decoding_length=new)

    return run


def measure(name: str, config: Any, dtypes: list[str], quick: bool) -> list[list[object]]:
    """Rows of the table for one model."""
    import transformers

    import enfold

    causal = name != "marian"
    auto = "AutoModelForCausalLM" if causal else "AutoModelForSeq2SeqLM"
    rows: list[list[object]] = []
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        getattr(transformers, auto).from_config(config).save_pretrained(folder)
        other = converted(folder, config.vocab_size, padding=not causal)
        for dtype in dtypes:
            ours = getattr(enfold, auto).from_pretrained(folder, dtype=dtype)
            theirs_dtype = "float32" if dtype == "int8" else dtype
            theirs = getattr(transformers, auto).from_pretrained(folder, dtype=theirs_dtype)
            third = peer(other, dtype, causal) if other else None
            for count, beams in ((1, 1), (16, 1), (1, 4), (16, 4)):
                new = (16 if quick else 64) // (1 if count * beams == 1 else 2 if count * beams < 64 else 4)
                lengths = PROMPT if causal else SOURCE
                ids, mask = prompts(count, lengths, config.vocab_size, config.pad_token_id, left=causal)
                settings = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "num_beams": beams}
                sides = [partial(m.generate, ids, attention_mask=mask, **settings) for m in (ours, theirs)]
                if third is not None:
                    sides.append(partial(third, ids, mask, new, beams))
                seconds = alternate(*sides, repeats=1 if quick else 3)
                found, wanted = (side()[:, -new:] for side in sides[:2])
                speeds = [f"{count * new / s:.1f}" for s in seconds] + (["–"] if third is None else [])
                ratios = [f"{s / seconds[0]:.2f}" for s in seconds[1:]] + (["–"] if third is None else [])
                same = f"{(found == wanted).float().mean().item():.0%}" if found.shape == wanted.shape else "–"
                rows.append([name, dtype, count, beams, *speeds, *ratios, same])
                print(rows[-1], flush=True)
            del ours, theirs, third, sides
            gc.collect()
    return rows


def overhead() -> None:
    """What Python costs a step: a model whose products take no time."""
    import enfold

    config = enfold.LlamaConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=22,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=99,
        eos_token_id=0,
        pad_token_id=0,
    )
    model, ids = enfold.LlamaForCausalLM(config), torch.tensor([[5, 6, 7]])
    times = []
    for _ in range(7):
        started = time.perf_counter()
        model.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False)
        times.append((time.perf_counter() - started) / 64)
    print(f"\nPython and calls: {min(times) * 1e3:.2f} ms a step of 22 layers")


def main() -> None:
    sizes = ("gpt2", "llama", "marian")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*sizes, []], default=list(sizes), metavar="model")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "int8"])
    parser.add_argument("--quick", action="store_true", help="few tokens, once")
    given = parser.parse_args() if Path(__import__("sys").argv[0]).stem == "generation" else parser.parse_args([])
    found = [row for name in given.models for row in measure(name, configurations()[name], given.dtypes, given.quick)]
    print()
    header = ["model", "dtype", "prompts", "beams", "enfold tokens/s", "transformers", "CTranslate2"]
    table([*header, "× transformers", "× CTranslate2", "equal tokens"], found)
    overhead()


if __name__ == "__main__":
    main()
