import warnings

import pytest

from . import folders


@pytest.fixture(scope="session")
def tokenizer_folders(tmp_path_factory):
    """kind → folder with the files of a small tokenizer."""
    home = tmp_path_factory.mktemp("tokenizers")
    vocab = folders.train_wordpiece()
    return {
        "bert-vocab": folders.bert_vocab_folder(home / "bert-vocab", vocab),
        "bert-cased": folders.bert_vocab_folder(
            home / "bert-cased", vocab, do_lower_case=False, strip_accents=True, tokenize_chinese_chars=False
        ),
        "bert-json": folders.bert_json_folder(home / "bert-json", vocab),
        "distilbert": folders.bert_vocab_folder(home / "distilbert", vocab, "distilbert", padding_side="left"),
        "gpt2": folders.gpt2_folder(home / "gpt2"),
        "llama": folders.llama_folder(home / "llama"),
        "chat": folders.chat_folder(home / "chat"),
    }


@pytest.fixture(scope="session")
def pairs(tokenizer_folders):
    """kind → (ours, theirs), both loaded from the same folder."""
    import transformers

    from enfold import AutoTokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            kind: (AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder))
            for kind, folder in tokenizer_folders.items()
        }
