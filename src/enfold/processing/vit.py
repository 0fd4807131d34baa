"""The image processors of ViT and DeiT."""

from enfold.processing.image_processor import HALF, ImageProcessor


class ViTImageProcessor(ImageProcessor):
    """224 × 224 pixels by bilinear filtering, numbers from −1 to 1."""

    defaults = {
        "do_resize": True,
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": HALF,
        "image_std": HALF,
    }


class DeiTImageProcessor(ImageProcessor):
    """256 × 256 pixels by bicubic filtering, of which the middle 224 × 224 stay."""

    defaults = ViTImageProcessor.defaults | {
        "size": {"height": 256, "width": 256},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
    }


# There is one implementation; files name either.
ViTImageProcessorFast = ViTImageProcessor
DeiTImageProcessorFast = DeiTImageProcessor
