"""Peak memory of loading a checkpoint and reading all of it, beside transformers, in fresh processes."""

import tempfile

from benchmarks.measure import alternate_processes, table


def main() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=16, num_attention_heads=16
    )
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        model = LlamaForCausalLM(config)
        size = sum(p.numel() for p in model.parameters()) * 4 / 2**20
        model.save_pretrained(folder)
        for dtype in ("float32", "bfloat16"):
            baseline, programs = [], []
            for library in ("enfold", "transformers"):
                head = f"import torch; from {library} import LlamaForCausalLM; "
                baseline.append(head + "torch.ones(4) @ torch.ones(4)")
                load = f"m = LlamaForCausalLM.from_pretrained('{folder}', dtype='{dtype}'); "
                programs.append(head + load + "[p.detach().sum() for p in m.parameters()]")  # read what is mapped
            empty = alternate_processes(*baseline, repeats=3)
            loaded = alternate_processes(*programs, repeats=3)
            memory = [after[1] - before[1] for after, before in zip(loaded, empty, strict=True)]
            weights = size if dtype == "float32" else size / 2
            rows.append([dtype, weights, memory[0] / weights, memory[1] / weights])
    table(
        ["dtype", "weights MB", "enfold peak / weights", "transformers peak / weights"],
        rows,
    )


if __name__ == "__main__":
    main()
