"""Greedy decoding of SmolLM2-135M, batch 1 and 16 prompts of mixed length, beside transformers' `generate`."""

import tempfile
from functools import partial

import torch

from benchmarks.measure import alternate, table

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
NEW = {1: 128, 16: 64}  # prompts → new tokens


def prompts(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Left-padded random prompts of 8 to 68 tokens."""
    generator = torch.Generator().manual_seed(0)
    lengths = [32] if rows == 1 else [8 + 4 * row for row in range(rows)]
    ids = torch.randint(1000, 40000, (rows, max(lengths)), generator=generator)
    mask = torch.tensor([[0] * (max(lengths) - n) + [1] * n for n in lengths])
    return ids.masked_fill(mask == 0, 2), mask


def main() -> None:
    import transformers

    import enfold

    table_rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        enfold.AutoModelForCausalLM.from_pretrained(SMOLLM2).save_pretrained(folder)
        for dtype in ("float32", "bfloat16"):
            ours = enfold.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
            theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
            for rows in NEW:
                ids, mask = prompts(rows)
                new = NEW[rows]
                settings = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 2}
                run = [partial(m.generate, ids, attention_mask=mask, **settings) for m in (ours, theirs)]
                mine, peer = alternate(*run, repeats=3)
                outputs = [side() for side in run]
                same = (outputs[0] == outputs[1])[:, ids.shape[1] :].float().mean().item()
                speeds = [rows * new / seconds for seconds in (mine, peer)]
                table_rows.append([dtype, rows, *speeds, peer / mine, f"{same:.1%}"])
    table(["dtype", "prompts", "enfold tokens/s", "transformers tokens/s", "times as fast", "equal tokens"], table_rows)


if __name__ == "__main__":
    main()
