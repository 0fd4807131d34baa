"""Each starter model, loaded by the reference library from the cache and asked something it should know."""

import hashlib

import pytest
from tools.starter_weights.layout import present
from tools.starter_weights.sources import SOURCES

from enfold.hub import list_files, resolve_file
from enfold.hub.cache import default_cache_dir

pytestmark = pytest.mark.weights
transformers = pytest.importorskip("transformers")


@pytest.fixture(autouse=True, scope="module")
def _weights():
    missing = [s.repo_id for s in SOURCES if not present(default_cache_dir(), s.repo_id, s.revision)]
    if missing:
        pytest.skip(f"not in the cache: {', '.join(missing)} (make weights fetches them)")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.repo_id.split("/")[1])
def test_every_blob_is_what_its_name_says(source):
    for name in list_files(source.repo_id):
        path = resolve_file(source.repo_id, name, local_files_only=True)
        data, etag = path.read_bytes(), path.resolve().name
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        assert etag in (git, hashlib.sha256(data).hexdigest()), name


def test_sentence_embeddings():
    name = "sentence-transformers/all-MiniLM-L6-v2"
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(name, local_files_only=True).eval()
    texts = ["A man is eating food.", "A man eats a meal.", "The stock market fell."]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    hidden = model(**inputs).last_hidden_state.detach()
    mask = inputs["attention_mask"][..., None]
    vectors = (hidden * mask).sum(1) / mask.sum(1)
    vectors = vectors / vectors.norm(dim=-1, keepdim=True)
    close, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert close == pytest.approx(0.908, abs=0.005)
    assert far == pytest.approx(-0.0365, abs=0.005)


def test_grammar_tags():
    name = "enfold-starter/gector-distilbert-cased"
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=True)
    model, report = transformers.AutoModelForTokenClassification.from_pretrained(
        name, local_files_only=True, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tags = {}
    for text in ("I has a apple .", "They was happy .", "This sentence is fine ."):
        inputs = tokenizer(text, return_tensors="pt")
        best = model.eval()(**inputs).logits[0].argmax(-1).tolist()
        words = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
        tags |= {(text, word): model.config.id2label[tag] for word, tag in zip(words, best, strict=True)}
    changed = {key: tag for key, tag in tags.items() if tag != "$KEEP"}
    assert changed == {("I has a apple .", "has"): "$REPLACE_have", ("They was happy .", "was"): "$REPLACE_were"}


def test_splade_expands_a_text():
    name = "enfold-starter/splade-tiny"
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=True)
    model, report = transformers.AutoModelForMaskedLM.from_pretrained(
        name, local_files_only=True, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    logits = model.eval()(**tokenizer("Paris is the [MASK] of France.", return_tensors="pt")).logits[0]
    words = tokenizer.decode(logits.max(0).values.topk(4).indices).split()
    assert {"paris", "france", "french"} <= set(words)


def test_chat_model():
    """The reference library needs accelerate to load GGUF weights, so it reads the tokenizer and `gguf` the header."""
    gguf = pytest.importorskip("gguf")
    name, file = "HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, gguf_file=file, local_files_only=True)
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == 1
    reader = gguf.GGUFReader(resolve_file(name, file, local_files_only=True))
    assert reader.fields["general.architecture"].contents() == "llama"
    assert reader.fields["llama.block_count"].contents() == 30
    assert "<|im_start|>" in reader.fields["tokenizer.chat_template"].contents()
    assert {tensor.tensor_type.name for tensor in reader.tensors} <= {"F32", "Q4_1", "Q6_K", "Q8_0"}
