"""HuBERT (Hsu et al. 2021): Wav2Vec2's encoder, taught by clusters of its own states."""

from torch import Tensor

from enfold.models.outputs import SpeechOutput
from enfold.models.speech import CTC, AudioClassification
from enfold.models.stacks import States
from enfold.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model, older_names


class HubertConfig(Wav2Vec2Config):
    """Entries of a HuBERT `config.json`."""

    model_type = "hubert"


class HubertModel(Wav2Vec2Model):
    """The encoder over a waveform."""

    config_class = HubertConfig
    base_model_prefix = "hubert"
    stored_aliases = older_names("hubert")

    def output(self, states: States, features: Tensor) -> SpeechOutput:
        return SpeechOutput(states.unpack(), None, states.hidden_states, states.attentions)


class HubertForCTC(CTC):
    """A token, or the blank, for each frame."""

    base_class = HubertModel


class HubertForSequenceClassification(AudioClassification):
    """A class for a sound."""

    base_class = HubertModel
