"""Arrow tables: load, map, filter, stream, save.

    from enfold.datasets import load_dataset

    reviews = load_dataset("csv", data_files="reviews.csv", split="train")
    longer = reviews.filter(lambda row: len(row["text"]) > 10)

Importing this loads neither pyarrow nor torch; the first dataset does.
"""

from enfold.base.lazy import lazy_names

# Public name → the module that defines it.
_NAMES = {
    "Column": "enfold.datasets.core",
    "Dataset": "enfold.datasets.dataset",
    "DatasetDict": "enfold.datasets.dataset_dict",
    "DatasetInfo": "enfold.datasets.info",
    "NamedSplit": "enfold.datasets.splits",
    "ReadInstruction": "enfold.datasets.splits",
    "Split": "enfold.datasets.splits",
    "SplitDict": "enfold.datasets.splits",
    "SplitInfo": "enfold.datasets.splits",
    "Version": "enfold.datasets.info",
    "disable_caching": "enfold.datasets.cache",
    "enable_caching": "enfold.datasets.cache",
    "is_caching_enabled": "enfold.datasets.cache",
    "load_from_disk": "enfold.datasets.dataset_dict",
}

# Names of the reference library that are not built yet; a name leaves this list when it gets its module.
_NOT_BUILT = [
    "Array2D",
    "Array3D",
    "Array4D",
    "Array5D",
    "ArrowBasedBuilder",
    "Audio",
    "BioSequence",
    "BioStructure",
    "BuilderConfig",
    "ClassLabel",
    "DatasetBuilder",
    "DownloadConfig",
    "DownloadManager",
    "DownloadMode",
    "Features",
    "GeneratorBasedBuilder",
    "Image",
    "IterableColumn",
    "IterableDataset",
    "IterableDatasetDict",
    "Json",
    "LargeList",
    "List",
    "Mesh",
    "Nifti",
    "Pdf",
    "Sequence",
    "SplitGenerator",
    "StreamingDownloadManager",
    "Translation",
    "TranslationVariableLanguages",
    "Value",
    "VerificationMode",
    "Video",
    "concatenate_datasets",
    "disable_progress_bars",
    "enable_progress_bars",
    "get_dataset_config_info",
    "get_dataset_config_names",
    "get_dataset_default_config_name",
    "get_dataset_infos",
    "get_dataset_split_names",
    "interleave_datasets",
    "load_dataset",
    "load_dataset_builder",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES, not_built=dict.fromkeys(_NOT_BUILT, __name__))
