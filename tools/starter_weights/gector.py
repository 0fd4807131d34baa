"""The GECToR tagger: an int8 ONNX graph → a checkpoint of DistilBertForTokenClassification."""

import json
from typing import Any

import numpy as np


def convert_tagger(files: dict[str, bytes]) -> dict[str, bytes]:
    """`tagger.onnx`, `tokenizer.json` and `tag_vocab.json` → the files `from_pretrained` reads."""
    from safetensors.numpy import save

    tags = json.loads(files["tag_vocab.json"])["tags"]
    tokenizer = json.loads(files["tokenizer.json"])
    tensors = float_tensors(files["tagger.onnx"])
    vocab = tokenizer["model"]["vocab"]
    config = _config(tensors, tags)
    if config["vocab_size"] != len(vocab):
        raise ValueError(f"{len(vocab)} tokens in tokenizer.json, {config['vocab_size']} embeddings in tagger.onnx.")
    tokenizer_config = {
        "cls_token": "[CLS]",
        "do_lower_case": False,
        "mask_token": "[MASK]",
        "model_max_length": config["max_position_embeddings"],
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "tokenizer_class": "DistilBertTokenizer",
        "unk_token": "[UNK]",
    }
    return {
        "config.json": _json(config),
        "model.safetensors": save(tensors, metadata={"format": "pt"}),
        "tokenizer.json": files["tokenizer.json"],
        "tokenizer_config.json": _json(tokenizer_config),
        "vocab.txt": "".join(f"{token}\n" for token in sorted(vocab, key=vocab.get)).encode(),
    }


def float_tensors(onnx_file: bytes) -> dict[str, np.ndarray]:
    """Every weight of an ONNX graph under the name that its PyTorch module gave it, in float32.

    The exporter keeps names for embeddings, norms and biases. A linear layer's matrix becomes the nameless right side
    of a MatMul, as [in, out]; the node's own name (`/distilbert/…/q_lin/MatMul`) says which layer it is.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(onnx_file).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {name: array for name, array in constants.items() if array.dtype == np.float32 and array.ndim > 0}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            given = [constants[name] for name in node.input]
            weights[node.input[0].removesuffix("_quantized")] = dequantize(*given, axis=axis)
            weights[node.output[0]] = weights[node.input[0].removesuffix("_quantized")]
    tensors = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            module = node.name.strip("/").removesuffix("/MatMul").replace("/", ".")
            tensors[f"{module}.weight"] = np.ascontiguousarray(weights[node.input[1]].T)  # [out, in]
    for name, array in weights.items():
        if name.endswith((".weight", ".bias")) and name not in tensors:
            tensors[name] = array
    return dict(sorted(tensors.items()))


def dequantize(
    quantized: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int = 1
) -> np.ndarray:
    """`(q - zero) · scale` in float32; scale and zero are single values, or one for each index along `axis` (ONNX)."""
    if scale.ndim == 1 and scale.size > 1:
        shape = [1] * quantized.ndim
        shape[axis] = scale.size
        scale = scale.reshape(shape)
        zero = None if zero is None else zero.reshape(shape)
    shifted = quantized.astype(np.int32) - (0 if zero is None else zero.astype(np.int32))
    return (shifted * scale.astype(np.float32)).astype(np.float32)


def _config(tensors: dict[str, np.ndarray], tags: list[str]) -> dict[str, Any]:
    vocab_size, dim = tensors["distilbert.embeddings.word_embeddings.weight"].shape
    layers = {name.split(".")[3] for name in tensors if name.startswith("distilbert.transformer.layer.")}
    if tensors["classifier.weight"].shape != (len(tags), dim):
        raise ValueError(f"{len(tags)} tags, and a classifier of shape {tensors['classifier.weight'].shape}.")
    return {
        "activation": "gelu",
        "architectures": ["DistilBertForTokenClassification"],
        "attention_dropout": 0.1,
        "dim": dim,
        "dropout": 0.1,
        "dtype": "float32",
        "hidden_dim": tensors["distilbert.transformer.layer.0.ffn.lin1.weight"].shape[0],
        "id2label": {str(index): tag for index, tag in enumerate(tags)},
        "initializer_range": 0.02,
        "label2id": {tag: index for index, tag in enumerate(tags)},
        "max_position_embeddings": tensors["distilbert.embeddings.position_embeddings.weight"].shape[0],
        "model_type": "distilbert",
        "n_heads": dim // 64,
        "n_layers": len(layers),
        "pad_token_id": 0,
        "sinusoidal_pos_embds": False,
        "vocab_size": vocab_size,
    }


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
