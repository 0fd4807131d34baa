"""Boxes and masks: COCO's mean average precision and recall. pycocotools matches and counts."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, check_lengths, choose

SIZES = ("all", "small", "medium", "large")
Rows = Sequence[Mapping[str, Any]]


def mean_average_precision(
    predictions: Rows,
    references: Rows,
    *,
    box_format: str = "xyxy",
    iou_type: str = "bbox",
    iou_thresholds: Sequence[float] | None = None,
    max_detection_thresholds: Sequence[int] = (1, 10, 100),
    class_metrics: bool = False,
) -> dict[str, Any]:
    """Average precision over overlaps from 0.5 to 0.95, recalls and classes, as COCO defines it (Lin et al. 2014).

    Args:
        predictions: for each image `{"boxes": [N, 4], "scores": [N], "labels": [N]}`, and `"masks"` [N, H, W] for
            "segm".
        references: for each image `{"boxes", "labels"}` or `"masks"`, and if known `"iscrowd"` [N] and `"area"` [N].
        box_format: "xyxy" (two corners), "xywh" (a corner, width, height) or "cxcywh" (the centre, width, height).
        iou_type: "bbox" compares boxes, "segm" masks.
        iou_thresholds: other overlaps than 0.5, 0.55, … 0.95.
        max_detection_thresholds: how many detections of an image count, at most: three numbers, ascending.
        class_metrics: also the numbers of each class.

    Returns:
        `{"map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100", "mar_small",
        "mar_medium", "mar_large", "classes"}`, -1 where there is nothing to find; with `class_metrics` also
        `"map_per_class"` and `"mar_100_per_class"`.
    """
    check_lengths(predictions=predictions, references=references)
    choose("box_format", box_format, ("xyxy", "xywh", "cxcywh"))
    choose("iou_type", iou_type, ("bbox", "segm"))
    most = list(max_detection_thresholds)
    if len(most) != 3 or most != sorted(most) or most[0] < 1:
        raise ArgumentError(
            f"max_detection_thresholds is {most}; expected three numbers, ascending, such as (1, 10, 100)"
        )
    truth, images = _annotations(references, "references", box_format, iou_type, scored=False)
    ours, seen = _annotations(predictions, "predictions", box_format, iou_type, scored=True)
    images = {number: images[number] if images[number][0] else seen[number] for number in images}
    labels = sorted({one["category_id"] for one in (*truth, *ours)})
    coco = require("pycocotools.coco", extra=EXTRA, purpose="mean_average_precision").COCO
    judge = require("pycocotools.cocoeval", extra=EXTRA, purpose="mean_average_precision").COCOeval
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its progress
        sides = [_indexed(coco(), images, labels, side) for side in (truth, ours)]
        evaluation = judge(*sides, iou_type)
        evaluation.params.maxDets = most
        if iou_thresholds is not None:
            evaluation.params.iouThrs = np.asarray(sorted(iou_thresholds), float)
        evaluation.evaluate()
        evaluation.accumulate()
    return _summary(evaluation, labels, class_metrics)


def _summary(evaluation: Any, labels: list[int], class_metrics: bool) -> dict[str, Any]:
    """Means over what is there; precision [T, R, K, A, M] and recall [T, K, A, M], -1 where there is nothing."""
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    overlaps, most = evaluation.params.iouThrs, evaluation.params.maxDets

    def at(overlap: float) -> float:
        places = np.flatnonzero(np.isclose(overlaps, overlap))
        return _mean(precision[places, :, :, 0, -1])

    result: dict[str, Any] = {"map": _mean(precision[..., 0, -1]), "map_50": at(0.5), "map_75": at(0.75)}
    result |= {f"map_{size}": _mean(precision[..., place, -1]) for place, size in enumerate(SIZES) if place}
    result |= {f"mar_{count}": _mean(recall[..., 0, place]) for place, count in enumerate(most)}
    result |= {f"mar_{size}": _mean(recall[..., place, -1]) for place, size in enumerate(SIZES) if place}
    result["classes"] = labels
    if class_metrics:
        each = range(len(labels))
        result["map_per_class"] = [_mean(precision[:, :, place, 0, -1]) for place in each]
        result[f"mar_{most[-1]}_per_class"] = [_mean(recall[:, place, 0, -1]) for place in each]
    return result


def _mean(values: np.ndarray) -> float:
    there = values[values > -1]
    return float(there.mean()) if there.size else -1.0


def _indexed(
    side: Any, images: Mapping[int, tuple[int, int]], labels: list[int], annotations: list[dict[str, Any]]
) -> Any:
    shapes = [{"id": number, "height": shape[0], "width": shape[1]} for number, shape in images.items()]
    categories = [{"id": label} for label in labels]
    side.dataset = {"images": shapes, "categories": categories, "annotations": annotations}
    side.createIndex()
    return side


def _annotations(
    rows: Rows, name: str, box_format: str, iou_type: str, *, scored: bool
) -> tuple[list[dict[str, Any]], dict[int, tuple[int, int]]]:
    """What COCO calls annotations, and each image's height and width as far as masks tell."""
    what = "masks" if iou_type == "segm" else "boxes"
    wanted = {what, "labels", *(["scores"] if scored else [])}
    found, shapes = [], {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not wanted <= row.keys():
            raise ArgumentError(f"row {number - 1} of {name} must be a dictionary with {', '.join(sorted(wanted))}")
        columns = {key: np.asarray(row[key]) for key in {*wanted, "iscrowd", "area"} if row.get(key) is not None}
        lengths = {key: len(column) for key, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ArgumentError(
                f"row {number - 1} of {name} has " + " and ".join(f"{n} {k}" for k, n in lengths.items())
            )
        shapes[number] = (0, 0)
        if iou_type == "segm":
            shapes[number] = columns["masks"].shape[1:] if len(columns["masks"]) else (0, 0)
            shown = _masks(columns["masks"], number - 1, name)
        else:
            shown = _boxes(columns["boxes"], box_format, number - 1, name)
        for place, one in enumerate(shown):
            kept = {key: columns[key][place].item() for key in ("iscrowd", "area") if key in columns}
            score = {"score": float(columns["scores"][place])} if scored else {}
            label = int(columns["labels"][place])
            entry = {"id": len(found) + 1, "image_id": number, "category_id": label, "iscrowd": 0}
            found.append(entry | one | score | kept)
    return found, shapes


def _boxes(boxes: np.ndarray, box_format: str, number: int, name: str) -> list[dict[str, Any]]:
    if not boxes.size:
        return []
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ArgumentError(f"row {number} of {name} has boxes of the shape {boxes.shape}; expected [N, 4]")
    first, second = boxes[:, :2].astype(float), boxes[:, 2:].astype(float)
    size = second - first if box_format == "xyxy" else second
    corner = first - second / 2 if box_format == "cxcywh" else first
    if (size < 0).any():
        raise ArgumentError(f"row {number} of {name} has a box of negative size; is box_format={box_format!r} right?")
    placed = np.hstack([corner, size])
    return [{"bbox": box.tolist(), "area": float(box[2] * box[3])} for box in placed]


def _masks(masks: np.ndarray, number: int, name: str) -> list[dict[str, Any]]:
    if not masks.size:
        return []
    if masks.ndim != 3:
        raise ArgumentError(f"row {number} of {name} has masks of the shape {masks.shape}; expected [N, H, W]")
    code = require("pycocotools.mask", extra=EXTRA, purpose="mean_average_precision")
    runs = code.encode(np.asfortranarray(masks.astype(bool).transpose(1, 2, 0).astype(np.uint8)))
    return [{"segmentation": run, "bbox": code.toBbox(run).tolist(), "area": float(code.area(run))} for run in runs]
