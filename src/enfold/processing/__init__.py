"""Images and sounds → what models read: image processors, feature extractors, processors.

from enfold.processing import AutoImageProcessor

processor = AutoImageProcessor.from_pretrained("google/vit-base-patch16-224")
inputs = processor(image, return_tensors="pt")
"""

from enfold.base.lazy import lazy_names
from enfold.names import PROCESSING

__getattr__, __dir__ = lazy_names(__name__, PROCESSING)
