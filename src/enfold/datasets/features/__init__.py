"""What a column may hold, and how it becomes Arrow and comes back."""

from enfold.datasets.features.arrays import Array2D, Array3D, Array4D, Array5D
from enfold.datasets.features.casting import cast_array, cast_table, embed_table
from enfold.datasets.features.decoding import decode_value, decoder
from enfold.datasets.features.encoding import infer, to_array, to_table
from enfold.datasets.features.images import Image
from enfold.datasets.features.jsons import Json
from enfold.datasets.features.media import BioSequence, BioStructure, Mesh, Nifti, Pdf, Video
from enfold.datasets.features.schema import (
    Features,
    arrow_field,
    arrow_type,
    feature_of,
    leaves,
    plain_table,
    require_decoding,
    require_embedding,
    visit,
)
from enfold.datasets.features.sounds import Audio, AudioDecoder
from enfold.datasets.features.types import (
    ClassLabel,
    FeatureType,
    LargeList,
    List,
    Sequence,
    Translation,
    TranslationVariableLanguages,
    Value,
    register_feature,
)

__all__ = [
    "Array2D",
    "Array3D",
    "Array4D",
    "Array5D",
    "Audio",
    "AudioDecoder",
    "BioSequence",
    "BioStructure",
    "ClassLabel",
    "FeatureType",
    "Features",
    "Image",
    "Json",
    "LargeList",
    "List",
    "Mesh",
    "Nifti",
    "Pdf",
    "Sequence",
    "Translation",
    "TranslationVariableLanguages",
    "Value",
    "Video",
    "arrow_field",
    "arrow_type",
    "cast_array",
    "cast_table",
    "decode_value",
    "decoder",
    "embed_table",
    "feature_of",
    "infer",
    "leaves",
    "plain_table",
    "register_feature",
    "require_decoding",
    "require_embedding",
    "to_array",
    "to_table",
    "visit",
]
