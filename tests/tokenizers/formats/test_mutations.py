"""Files with a few bytes changed, cut or doubled are read or refused, and nothing else."""

import random

import gguf
import pytest

from enfold.base.errors import NotBuiltError, TokenizerError
from enfold.tokenizers.formats.gguf_vocabulary import read_gguf_vocabulary
from enfold.tokenizers.formats.sentencepiece import generic_document, parse_sentencepiece
from enfold.tokenizers.formats.tekken import read_tekken
from enfold.tokenizers.formats.tiktoken import read_tiktoken

from . import ranks as made

TIMES = 200


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four changes, mostly near the start, where the structure is dense."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if not data:
            break
        reach = len(data) if chance.random() < 0.3 else min(len(data), 400)
        at = chance.randrange(reach)
        kind = chance.randrange(5)
        if kind == 0:
            data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        elif kind == 1:
            data[at : at + 8] = chance.choice([b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f" + b"\x00" * 4])
        elif kind == 2:
            del data[at : at + chance.randint(1, 30)]
        elif kind == 3:
            data[at:at] = data[at : at + chance.randint(1, 30)]
        else:
            del data[at + 1 :]
    return bytes(data)


@pytest.fixture(scope="module")
def files(small_ranks, spm_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutations")
    writer = gguf.GGUFWriter(folder / "m.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(["a", "b", "ab", "<|x|>"])
    writer.add_token_merges(["a b"])
    writer.add_token_types([1, 1, 1, 3])
    writer.add_bos_token_id(3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    tekken = made.write_json(folder / "tekken.json", made.tekken_whole(small_ranks, ["<unk>", "<s>"], 5))
    return {
        "gguf": (folder / "m.gguf").read_bytes(),
        "tekken": tekken.read_bytes(),
        "tiktoken": made.tiktoken_text(small_ranks).encode(),
        "sentencepiece": spm_models["llama"],
    }


@pytest.mark.parametrize("kind", ["gguf", "tekken", "tiktoken", "sentencepiece"])
def test_mutations_are_read_or_refused(files, tmp_path, kind):
    chance = random.Random(5)
    path = tmp_path / f"m.{kind}.json"
    refused = 0
    for _ in range(TIMES):
        content = mutated(files[kind], chance)
        path.write_bytes(content)
        try:
            if kind == "sentencepiece":
                generic_document(parse_sentencepiece(content, path))
            elif kind == "gguf":
                read_gguf_vocabulary(path)
            else:
                (read_tekken if kind == "tekken" else read_tiktoken)(path)
        except (TokenizerError, NotBuiltError):
            refused += 1
    assert 0 < refused < TIMES
