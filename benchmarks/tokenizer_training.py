"""Training vocabularies beside tokenizers, in fresh processes: seconds, CPU seconds, peak memory.

`ENFOLD_TRAINING_TEXT` names the text file to train on; without it, Python sources of this machine are put together.
Byte-pair vocabularies are compared before the figures count.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.measure import table

TEXT_BYTES = 50_000_000
UNIGRAM_BYTES = 1_000_000  # the peer needs minutes for ten times as much

PROGRAM = """
import hashlib, json, re, sys, time
from {library} import Tokenizer, models, trainers, pre_tokenizers, normalizers
text, part = sys.argv[1], int(sys.argv[2])
t = Tokenizer(models.{model}())
{setting}
trainer = trainers.{model_trainer}Trainer(vocab_size={size}, show_progress=False)
lines = open(text, encoding="utf-8").read(part).split("\\n") if part else None
wall, cpu = time.perf_counter(), time.process_time()
t.train_from_iterator(lines, trainer) if part else t.train([text], trainer)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
model = json.loads(t.to_str())["model"]
digest = hashlib.sha256(json.dumps([model["vocab"], model.get("merges")]).encode()).hexdigest()
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps([wall, cpu, peak, digest]))
"""

CASES = {
    "byte-level BPE, 32k": ("BPE", "Bpe", 32000, "t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)"),
    "WordPiece (BERT), 30k": (
        "WordPiece",
        "WordPiece",
        30000,
        "t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()",
    ),
    "Unigram, 8k": ("Unigram", "Unigram", 8000, "t.pre_tokenizer = pre_tokenizers.Metaspace()"),
}


def run(library: str, case: str, text: str) -> list:
    model, trainer, size, setting = CASES[case]
    program = PROGRAM.format(library=library, model=model, model_trainer=trainer, size=size, setting=setting)
    part = UNIGRAM_BYTES if model == "Unigram" else 0
    done = subprocess.run([sys.executable, "-c", program, text, str(part)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.split("\n")[-2])


def write_text(path: Path) -> None:
    """Python sources of the standard library and the installed packages, as much as is asked for."""
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        for root in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
            for source in sorted(Path(root).rglob("*.py")):
                written += file.write(source.read_text("utf-8", errors="ignore") + "\n")
                if written > TEXT_BYTES:
                    return


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = os.environ.get("ENFOLD_TRAINING_TEXT") or str(Path(folder) / "text.txt")
        if not os.path.exists(text):
            write_text(Path(text))
        rows: list[list[object]] = []
        for case in os.environ.get("ENFOLD_TRAINING_CASES", "|".join(CASES)).split("|"):
            ours, theirs = run("enfold.tokenizers", case, text), run("tokenizers", case, text)
            size = UNIGRAM_BYTES if case.startswith("Unigram") else os.path.getsize(text)
            same = "yes" if ours[3] == theirs[3] else "no"
            ratios = [theirs[0] / ours[0], theirs[1] / ours[1]]
            rows.append([case, size / 1e6, ours[0], theirs[0], ours[1], theirs[1], *ratios, ours[2], theirs[2], same])
        table(
            [
                "vocabulary",
                "MB",
                "enfold s",
                "tokenizers s",
                "enfold CPU s",
                "tokenizers CPU s",
                "times as fast",
                "times less CPU",
                "enfold MB",
                "tokenizers MB",
                "equal",
            ],
            rows,
        )


if __name__ == "__main__":
    main()
