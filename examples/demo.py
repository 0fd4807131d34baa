"""First light: chat, compare and tag with real models, all on this machine. `make demo` runs it."""

import time

import torch

from enfold import AutoModel, AutoModelForCausalLM, AutoTokenizer, pipeline

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBED = "sentence-transformers/all-MiniLM-L6-v2"
TAG = "enfold-starter/gector-distilbert-cased"


def chat(question: str) -> None:
    """One turn, printed token by token."""
    tokenizer = AutoTokenizer.from_pretrained(CHAT)
    model = AutoModelForCausalLM.from_pretrained(CHAT)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    print(f"\n{CHAT}\n  you: {question}\n  it:  ", end="", flush=True)
    started, pieces = time.perf_counter(), 0
    for piece in model.stream(**prompt, tokenizer=tokenizer, max_new_tokens=48, do_sample=False):
        print(piece, end="", flush=True)
        pieces += 1
    print(f"\n  ({pieces / (time.perf_counter() - started):.0f} tokens a second)")


def compare(sentences: list[str]) -> None:
    """Cosine similarity of every sentence to the first: mean of the token states, as the model was trained."""
    tokenizer, model = AutoTokenizer.from_pretrained(EMBED), AutoModel.from_pretrained(EMBED)
    inputs = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state  # [B, T, D], zeros at padding
    vectors = torch.nn.functional.normalize(states.sum(1) / inputs["attention_mask"].sum(1, keepdim=True), dim=-1)
    print(f"\n{EMBED}\n  {sentences[0]!r} and")
    for sentence, similarity in zip(sentences[1:], vectors[1:] @ vectors[0], strict=True):
        print(f"  {similarity:+.2f}  {sentence!r}")


def tag(sentence: str) -> None:
    """What a grammar tagger would change."""
    print(f"\n{TAG}\n  {sentence!r}")
    for word in pipeline("token-classification", model=TAG)(sentence):
        if word["entity"] != "$KEEP":
            print(f"  {word['word']:<8} {word['entity']:<20} {word['score']:.2f}")


if __name__ == "__main__":
    chat("What is the capital of France?")
    compare(["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose again."])
    tag("They was happy to see me .")
