"""`Features`: the columns of a data set, in order, and their forms in Arrow, JSON and YAML."""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from enfold.base.errors import ArgumentError, DatasetError
from enfold.datasets.features import dtypes
from enfold.datasets.features.arrays import EXTENSION_DATA, EXTENSION_NAME, array_feature
from enfold.datasets.features.card import from_yaml, to_yaml
from enfold.datasets.features.jsons import Json
from enfold.datasets.features.types import FeatureType, LargeList, List, Sequence, Value, from_plain, to_plain

METADATA_KEY = b"huggingface"
"""Where the schema of a file keeps its features, as the `datasets` library does."""


def arrow_type(feature: FeatureType) -> pa.DataType:
    """The Arrow type that a feature is stored as."""
    if isinstance(feature, Mapping):
        return pa.struct([arrow_field(name, inner) for name, inner in feature.items()])
    if isinstance(feature, LargeList):
        return pa.large_list(arrow_field("item", feature.feature))
    if isinstance(feature, List):
        return pa.list_(arrow_field("item", feature.feature), feature.length)
    return feature()


def arrow_field(name: str, feature: FeatureType) -> pa.Field:
    return pa.field(name, arrow_type(feature), metadata=getattr(feature, "field_metadata", None))


def feature_of(item: pa.Field | pa.DataType) -> FeatureType:
    """The feature that an Arrow field or type stands for."""
    kind = item.type if isinstance(item, pa.Field) else item
    marks = (item.metadata or {}) if isinstance(item, pa.Field) else {}
    if EXTENSION_NAME in marks:
        found = array_feature(marks[EXTENSION_NAME].decode(), marks.get(EXTENSION_DATA, b"null"))
        if found is not None and arrow_type(found) == kind:
            return found
    if isinstance(kind, pa.JsonType):
        return Json()
    if isinstance(kind, pa.BaseExtensionType):
        found = None
        if isinstance(kind, pa.ExtensionType):
            found = array_feature(kind.extension_name, kind.__arrow_ext_serialize__())
        return feature_of(kind.storage_type) if found is None else found
    if pa.types.is_struct(kind):
        return {inner.name: feature_of(inner) for inner in kind}
    if pa.types.is_fixed_size_list(kind):
        return List(feature_of(kind.value_field), length=kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return List(feature_of(kind.value_field))
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return LargeList(feature_of(kind.value_field))
    if pa.types.is_map(kind):
        return List({"key": feature_of(kind.key_field), "value": feature_of(kind.item_field)})
    return Value(dtypes.dtype_name(kind))


def visit(feature: Any, change: Callable[[FeatureType], FeatureType | None]) -> FeatureType:
    """The feature with `change` applied to each part, leaves first; None keeps a part."""
    if isinstance(feature, Mapping):
        kind: Any = Features if isinstance(feature, Features) else dict
        feature = kind({name: visit(inner, change) for name, inner in feature.items()})
    elif isinstance(feature, LargeList):
        feature = LargeList(visit(feature.feature, change), id=feature.id)
    elif isinstance(feature, List):
        feature = List(visit(feature.feature, change), length=feature.length, id=feature.id)
    changed = change(feature)
    return feature if changed is None else changed


def leaves(feature: FeatureType) -> list[FeatureType]:
    """The parts of a feature that hold no other feature."""
    if isinstance(feature, Mapping):
        return [leaf for inner in feature.values() for leaf in leaves(inner)]
    if isinstance(feature, (List, LargeList)):
        return leaves(feature.feature)
    return [feature]


def require_decoding(feature: FeatureType) -> bool:
    """Whether values of this feature differ from what is stored."""
    return any(hasattr(leaf, "decode_example") and getattr(leaf, "decode", True) for leaf in leaves(feature))


def require_embedding(feature: FeatureType) -> bool:
    """Whether a column may hold paths to files that must be stored with it to travel."""
    return any(hasattr(leaf, "embed_storage") for leaf in leaves(feature))


class Features(dict):
    """Column name → feature: `Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})`.

    A dict is a struct; `[feature]`, as older code writes it, is read as `List(feature)`.
    """

    def __init__(self, *args: Any, **columns: Any):
        super().__init__(*args, **columns)
        for name, feature in self.items():
            super().__setitem__(name, _checked(feature, str(name)))

    def __setitem__(self, name: str, feature: FeatureType) -> None:
        super().__setitem__(name, _checked(feature, str(name)))

    def update(self, *args: Any, **columns: Any) -> None:
        for name, feature in dict(*args, **columns).items():
            self[name] = feature

    def setdefault(self, name: str, feature: FeatureType = None) -> FeatureType:
        if name not in self:
            self[name] = feature
        return self[name]

    def __reduce__(self):
        return Features, (dict(self),)

    def copy(self) -> "Features":
        return copy.deepcopy(self)

    # forms

    @property
    def type(self) -> pa.DataType:
        """The struct that a row is stored as."""
        return arrow_type(self)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema, with these features in its metadata."""
        fields = [arrow_field(name, feature) for name, feature in self.items()]
        return pa.schema(fields, metadata={METADATA_KEY: json.dumps({"info": {"features": self.to_dict()}}).encode()})

    @classmethod
    def from_arrow_schema(cls, schema: pa.Schema) -> "Features":
        """The features in the schema's metadata where they fit its types, else what the types say."""
        told = cls._noted((schema.metadata or {}).get(METADATA_KEY, b"{}"))
        return cls(
            {
                field.name: told[field.name]
                if field.name in told and plain_type(field.type) == arrow_type(told[field.name])
                else feature_of(field)
                for field in schema
            }
        )

    @classmethod
    def _noted(cls, metadata: bytes) -> "Features":
        """The features that a schema's metadata describes, if any."""
        try:
            described = (json.loads(metadata).get("info") or {}).get("features")
            return cls.from_dict(described) if described else cls()
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise DatasetError(
                f"The features in the metadata of an Arrow schema can't be read: {error}. Drop the metadata "
                "(table.replace_schema_metadata()) to go by the types alone."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: `{"label": {"names": […], "_type": "ClassLabel"}}`."""
        return {name: to_plain(feature) for name, feature in self.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Features":
        return cls({name: from_plain(feature) for name, feature in plain.items()})

    def to_yaml(self) -> list[dict[str, Any]]:
        """The list that stands under `dataset_info: features:` in a card."""
        return to_yaml(self.to_dict())

    @classmethod
    def from_yaml(cls, listed: list[dict[str, Any]]) -> "Features":
        return cls.from_dict(from_yaml(listed))

    _to_yaml_list = to_yaml
    _from_yaml_list = from_yaml

    # Python values

    def encode_example(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """A row → the Python values that are stored (labels as numbers, images as bytes, …)."""
        table = _encoding().to_table({name: [example.get(name)] for name in self}, features=self)
        return {name: column[0] for name, column in table.to_pydict().items()}

    def encode_batch(self, batch: Mapping[str, Any]) -> dict[str, list]:
        if set(batch) != set(self):
            raise DatasetError(f"The batch has the columns {sorted(batch)}, the features are {sorted(self)}.")
        return _encoding().to_table(batch, features=self).to_pydict()

    def encode_column(self, column: Any, column_name: str) -> list:
        return _encoding().to_array(column, self[column_name], name=column_name).to_pylist()

    def decode_example(self, example: Mapping[str, Any], token_per_repo_id: Mapping | None = None) -> dict[str, Any]:
        """A stored row → what a user sees (images, audio, JSON values decoded)."""
        return {name: self._decode(name, value, token_per_repo_id) for name, value in example.items()}

    def decode_column(self, column: list, column_name: str, token_per_repo_id: Mapping | None = None) -> list:
        return [self._decode(column_name, value, token_per_repo_id) for value in column]

    def decode_batch(self, batch: Mapping[str, list], token_per_repo_id: Mapping | None = None) -> dict[str, list]:
        return {name: self.decode_column(column, name, token_per_repo_id) for name, column in batch.items()}

    def _decode(self, name: str, value: Any, tokens: Mapping | None) -> Any:
        from enfold.datasets.features.decoding import decode_value

        return decode_value(self[name], value, tokens) if name in self else value

    # shape

    def reorder_fields_as(self, other: "Features") -> "Features":
        """These features with the fields of every struct in the order of `other`'s."""
        return Features(_reordered(self, other, ""))

    def flatten(self, max_depth: int = 16) -> "Features":
        """Each field of a struct as a column of its own, `"answers.text"`."""
        flat = self
        for _ in range(max_depth - 1):
            deeper: dict[str, FeatureType] = {}
            kept: dict[str, FeatureType] = {}
            for name, feature in flat.items():
                inner = feature if isinstance(feature, dict) else _parts(feature)
                if inner is None:
                    kept[name] = feature
                else:
                    deeper.update({f"{name}.{part}": value for part, value in inner.items()})
            flat = Features({**kept, **deeper})
            if not deeper:
                break
        return flat


def _encoding() -> Any:
    from enfold.datasets.features import encoding

    return encoding


def _parts(feature: FeatureType) -> dict[str, FeatureType] | None:
    parts = feature.flatten() if hasattr(feature, "flatten") else feature
    return parts if isinstance(parts, dict) else None


def _checked(feature: Any, name: str) -> FeatureType:
    if isinstance(feature, (list, tuple)):
        if len(feature) != 1:
            raise ArgumentError(f"The feature {name!r} is a list of {len(feature)}: write List(feature).")
        return List(_checked(feature[0], name))
    if isinstance(feature, Features):
        return dict(feature)
    if isinstance(feature, Mapping):
        return {key: _checked(inner, f"{name}.{key}") for key, inner in feature.items()}
    if isinstance(feature, List):
        return List(_checked(feature.feature, name), length=feature.length, id=feature.id)
    if isinstance(feature, LargeList):
        return LargeList(_checked(feature.feature, name), id=feature.id)
    if isinstance(feature, (str, pa.DataType, type)) or not callable(feature):
        raise ArgumentError(
            f"The feature {name!r} is {feature!r}: expected a feature such as Value('string'), ClassLabel(…), "
            "List(…), Image(), or a dict of them."
        )
    return feature


def _reordered(source: FeatureType, target: FeatureType, path: str) -> FeatureType:
    where = f" at {path[1:]}" if path else ""
    if isinstance(source, Mapping):
        if not isinstance(target, Mapping):
            raise DatasetError(f"A struct can't take the order of {target}{where}.")
        if set(source) != set(target):
            raise DatasetError(
                f"Only the same fields can be put in another order{where}: {sorted(set(source) - set(target))} and "
                f"{sorted(set(target) - set(source))} stand on one side only."
            )
        return {name: _reordered(source[name], target[name], f"{path}.{name}") for name in target}
    for kind in (List, LargeList):
        if isinstance(source, kind):
            if not isinstance(target, kind):
                raise DatasetError(f"{source} can't take the order of {target}{where}.")
            inner = _reordered(source.feature, target.feature, f"{path}.<list>")
            return List(inner, length=source.length) if isinstance(source, List) else LargeList(inner)
    return source


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type without the extension types of other libraries inside (`arrow.json` stays)."""
    if isinstance(kind, pa.ExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_struct(kind):
        return pa.struct([plain_field(inner) for inner in kind])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_field(kind.value_field), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(plain_field(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(plain_field(kind.value_field))
    return kind


def plain_field(field: pa.Field) -> pa.Field:
    """The field with storage types, an extension noted in its metadata."""
    if isinstance(field.type, pa.ExtensionType):
        noted = {
            **(field.metadata or {}),
            EXTENSION_NAME: field.type.extension_name.encode(),
            EXTENSION_DATA: field.type.__arrow_ext_serialize__(),
        }
        return pa.field(field.name, plain_type(field.type), field.nullable, noted)
    return field.with_type(plain_type(field.type))


def plain_table(table: pa.Table) -> pa.Table:
    """The table with storage types where another library in this process registered extension types.

    Every table that comes from a file goes through here, so that tables of one shape have one schema. Costs nothing
    where there is nothing to do, and copies nothing.
    """
    if not any(_foreign(field.type) for field in table.schema):
        return table
    schema = pa.schema([plain_field(field) for field in table.schema], metadata=table.schema.metadata)
    columns = [
        pa.chunked_array([_plain_array(chunk, field.type) for chunk in column.chunks], field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _foreign(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ExtensionType):
        return True
    return any(_foreign(kind.field(index).type) for index in range(kind.num_fields))


def _plain_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ExtensionArray) and not isinstance(array, pa.JsonArray):
        return _plain_array(array.storage, kind)
    if array.type == kind and not _foreign(array.type):
        return array
    if pa.types.is_struct(kind):
        parts = [_plain_array(array.field(index), inner.type) for index, inner in enumerate(kind)]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=array.is_null())
    # a list keeps its offsets; only what they point into changes its type
    buffers = array.buffers()[: 1 if pa.types.is_fixed_size_list(kind) else 2]
    return pa.Array.from_buffers(
        kind, len(array), buffers, array.null_count, array.offset, [_plain_array(array.values, kind.value_type)]
    )


__all__ = ["Features", "Sequence", "arrow_field", "arrow_type", "feature_of", "leaves", "plain_table", "visit"]
