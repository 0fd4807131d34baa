"""Arrow tables: load, map, filter, stream, save.

    from enfold.datasets import load_dataset

    reviews = load_dataset("csv", data_files="reviews.csv", split="train")
    longer = reviews.filter(lambda row: len(row["text"]) > 10)

Importing this loads neither pyarrow nor torch; the first dataset does.
"""

from enfold.base.lazy import lazy_names

# Public name → the module that defines it.
_NAMES = {
    "Array2D": "enfold.datasets.features",
    "Array3D": "enfold.datasets.features",
    "Array4D": "enfold.datasets.features",
    "Array5D": "enfold.datasets.features",
    "Audio": "enfold.datasets.features",
    "BioSequence": "enfold.datasets.features",
    "BioStructure": "enfold.datasets.features",
    "BuilderConfig": "enfold.datasets.builder",
    "ClassLabel": "enfold.datasets.features",
    "Column": "enfold.datasets.core",
    "Dataset": "enfold.datasets.dataset",
    "DatasetBuilder": "enfold.datasets.builder",
    "DatasetDict": "enfold.datasets.dataset_dict",
    "DatasetInfo": "enfold.datasets.info",
    "DownloadMode": "enfold.datasets.builder",
    "Features": "enfold.datasets.features",
    "Image": "enfold.datasets.features",
    "IterableColumn": "enfold.datasets.iterable",
    "IterableDataset": "enfold.datasets.iterable",
    "IterableDatasetDict": "enfold.datasets.iterable_dict",
    "Json": "enfold.datasets.features",
    "LargeList": "enfold.datasets.features",
    "List": "enfold.datasets.features",
    "Mesh": "enfold.datasets.features",
    "NamedSplit": "enfold.datasets.splits",
    "Nifti": "enfold.datasets.features",
    "Pdf": "enfold.datasets.features",
    "ReadInstruction": "enfold.datasets.splits",
    "Sequence": "enfold.datasets.features",
    "Split": "enfold.datasets.splits",
    "SplitDict": "enfold.datasets.splits",
    "SplitInfo": "enfold.datasets.splits",
    "StatefulDataLoader": "enfold.datasets.streams.loader",
    "Translation": "enfold.datasets.features",
    "TranslationVariableLanguages": "enfold.datasets.features",
    "Value": "enfold.datasets.features",
    "VerificationMode": "enfold.datasets.builder",
    "Version": "enfold.datasets.info",
    "Video": "enfold.datasets.features",
    "are_progress_bars_disabled": "enfold.datasets.bars",
    "concatenate_datasets": "enfold.datasets.combine",
    "disable_caching": "enfold.datasets.cache",
    "disable_progress_bar": "enfold.datasets.bars",
    "disable_progress_bars": "enfold.datasets.bars",
    "enable_caching": "enfold.datasets.cache",
    "enable_progress_bar": "enfold.datasets.bars",
    "enable_progress_bars": "enfold.datasets.bars",
    "get_dataset_config_info": "enfold.datasets.load",
    "get_dataset_config_names": "enfold.datasets.load",
    "get_dataset_default_config_name": "enfold.datasets.load",
    "get_dataset_infos": "enfold.datasets.load",
    "get_dataset_split_names": "enfold.datasets.load",
    "interleave_datasets": "enfold.datasets.combine",
    "is_caching_enabled": "enfold.datasets.cache",
    "is_progress_bar_enabled": "enfold.datasets.bars",
    "load_dataset": "enfold.datasets.load",
    "load_dataset_builder": "enfold.datasets.load",
    "load_from_disk": "enfold.datasets.dataset_dict",
}

# Names of the reference library that are not built yet; a name leaves this list when it gets its module.
_NOT_BUILT = [
    "ArrowBasedBuilder",
    "DownloadConfig",
    "DownloadManager",
    "GeneratorBasedBuilder",
    "NamedSplitAll",
    "SplitBase",
    "SplitGenerator",
    "StreamingDownloadManager",
    "SubSplitInfo",
    "experimental",
    "percent",
    "tqdm",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES, not_built=dict.fromkeys(_NOT_BUILT, __name__))
