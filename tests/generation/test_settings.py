"""Settings of generation as files."""

import json

import pytest
import torch
import transformers

import enfold
from enfold.base.errors import ArgumentError, ConfigError
from enfold.generation import WatermarkingConfig
from enfold.generation.config import GenerationConfig
from tests.training import little

GIVEN = {"max_new_tokens": 9, "do_sample": True, "top_p": 0.8, "temperature": 0.6, "eos_token_id": [2, 3]}


def test_files_of_both_libraries(tmp_path):
    ours = GenerationConfig(**GIVEN, watermarking_config=WatermarkingConfig(bias=3.0))
    ours.save_pretrained(tmp_path)
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert {name: getattr(theirs, name) for name in GIVEN} == GIVEN
    assert theirs.watermarking_config.bias == 3.0
    assert GenerationConfig.from_pretrained(tmp_path).to_dict() == ours.to_dict()
    transformers.GenerationConfig(**GIVEN).save_pretrained(tmp_path / "theirs")
    back = GenerationConfig.from_pretrained(tmp_path / "theirs", top_p=0.5)
    assert {name: getattr(back, name) for name in GIVEN} == {**GIVEN, "top_p": 0.5}
    with pytest.raises(ArgumentError, match="top_q"):
        GenerationConfig.from_pretrained(tmp_path, top_q=1)
    (tmp_path / "generation_config.json").write_text("{torn")
    with pytest.raises(ConfigError, match="torn"):
        GenerationConfig.from_pretrained(tmp_path)


def test_settings_by_hand_are_saved_with_the_model(tmp_path):
    model = enfold.GPT2LMHeadModel(enfold.GPT2Config(**little.GPT2)).eval()
    model.generation_config = GenerationConfig(max_new_tokens=3, suppress_tokens=[5], pad_token_id=0)
    model.save_pretrained(tmp_path)
    entries = json.loads((tmp_path / "generation_config.json").read_text())
    assert entries == {"max_new_tokens": 3, "suppress_tokens": [5], "pad_token_id": 0}
    again = enfold.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([[1, 7, 9]])
    assert torch.equal(again.generate(ids), model.generate(ids))
    assert again.generate(ids).shape == (1, 6)
    # What a file says beyond the settings that are known stays in it.
    (tmp_path / "generation_config.json").write_text(json.dumps({**entries, "of_somebody_else": 1}))
    third = enfold.AutoModelForCausalLM.from_pretrained(tmp_path)
    third.generation_config = GenerationConfig(max_new_tokens=4)
    third.save_pretrained(tmp_path / "third")
    held = json.loads((tmp_path / "third" / "generation_config.json").read_text())
    assert held == {"max_new_tokens": 4, "of_somebody_else": 1}
