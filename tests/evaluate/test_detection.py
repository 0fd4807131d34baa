"""COCO's mean average precision: beside pycocotools as its users call it, and by hand."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as code
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from enfold import evaluate
from enfold.base.errors import ArgumentError
from enfold.evaluate import metrics


def scene(seed: int, images: int = 4):
    """Boxes (x, y, width, height) of three classes, and detections that are more or less right."""
    draw = np.random.RandomState(seed)
    truth, ours = [], []
    for _ in range(images):
        count = draw.randint(0, 5)
        boxes = np.hstack([draw.uniform(0, 200, (count, 2)), draw.uniform(5, 150, (count, 2))])
        labels = draw.randint(1, 4, count)
        truth.append({"boxes": boxes, "labels": labels, "iscrowd": (draw.rand(count) < 0.2).astype(int)})
        found = np.vstack([boxes + draw.normal(0, 6, boxes.shape), draw.uniform(1, 99, (2, 4))])
        found[:, 2:] = np.abs(found[:, 2:]) + 1
        guessed = np.append(np.where(draw.rand(count) < 0.8, labels, 1), [1, 2])
        ours.append({"boxes": found, "scores": draw.rand(count + 2), "labels": guessed})
    return ours, truth


def as_coco(ours, truth, most=(1, 10, 100)):
    """The twelve numbers of COCOeval.summarize."""
    annotations, results = [], []
    for number, (found, known) in enumerate(zip(ours, truth, strict=True), 1):
        for box, label, crowd in zip(known["boxes"], known["labels"], known["iscrowd"], strict=True):
            one = {"id": len(annotations) + 1, "image_id": number, "category_id": int(label), "iscrowd": int(crowd)}
            annotations.append(one | {"bbox": box.tolist(), "area": float(box[2] * box[3])})
        for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
            results.append({"image_id": number, "category_id": int(label), "bbox": box.tolist(), "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(ours))],
            "categories": [{"id": i} for i in (1, 2, 3)],
            "annotations": annotations,
            "info": {},
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


NAMES = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large"]
NAMES += ["mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"]


@pytest.mark.parametrize("seed", range(6))
def test_boxes(seed):
    ours, truth = scene(seed)
    expected = as_coco(ours, truth)
    found = metrics.mean_average_precision(ours, truth, box_format="xywh", class_metrics=True)
    np.testing.assert_allclose([found[name] for name in NAMES], expected, atol=1e-12)
    there = [value for value in found["map_per_class"] if value > -1]
    assert np.mean(there) == pytest.approx(found["map"])
    for turned, form in (
        (lambda box: np.hstack([box[:, :2], box[:, :2] + box[:, 2:]]), "xyxy"),
        (lambda box: np.hstack([box[:, :2] + box[:, 2:] / 2, box[:, 2:]]), "cxcywh"),
    ):
        sides = [[row | {"boxes": turned(row["boxes"])} for row in side] for side in (ours, truth)]
        assert metrics.mean_average_precision(*sides, box_format=form)["map"] == pytest.approx(found["map"])


def test_by_hand():
    truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}]
    half = [{"boxes": [[0, 0, 10, 5.0]], "scores": [0.9], "labels": [0]}]  # an overlap of one half
    found = metrics.mean_average_precision(half, truth)
    assert (found["map"], found["map_50"], found["map_75"]) == pytest.approx((0.1, 1.0, 0.0))
    assert found["map_large"] == -1.0
    assert metrics.mean_average_precision(half, truth, iou_thresholds=[0.3, 0.4])["map"] == pytest.approx(1)
    nothing = [{"boxes": [], "scores": [], "labels": []}]
    assert metrics.mean_average_precision(nothing, truth)["map"] == 0.0
    assert metrics.mean_average_precision(half, [{"boxes": [], "labels": []}])["map"] == -1.0


def test_masks():
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 2:12, 3:23], masks[1, 12:18, 5:9] = True, True
    truth = [{"masks": masks, "labels": [4, 7]}]
    ours = [{"masks": masks, "labels": [4, 7], "scores": [0.5, 0.6]}]
    assert metrics.mean_average_precision(ours, truth, iou_type="segm")["map"] == pytest.approx(1.0)
    shifted = np.roll(masks, 5, axis=2)
    overlap = code.iou(
        [code.encode(np.asfortranarray(shifted[0].astype(np.uint8)))],
        [code.encode(np.asfortranarray(masks[0].astype(np.uint8)))],
        [0],
    )[0, 0]
    found = metrics.mean_average_precision([ours[0] | {"masks": shifted}], truth, iou_type="segm", class_metrics=True)
    assert overlap == pytest.approx(0.6)
    assert found["map_per_class"] == pytest.approx([0.3, 0.0])  # 0.5, 0.55 and 0.6 of ten overlaps
    assert found["classes"] == [4, 7]


def test_as_a_module():
    ours, truth = scene(1)
    module = evaluate.load("mean_average_precision")
    for one, other in zip(ours, truth, strict=True):
        module.add(prediction=one, reference=other)
    assert module.compute(box_format="xywh") == metrics.mean_average_precision(ours, truth, box_format="xywh")


def test_refusals():
    truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}]
    for ours, message in (
        ([{"boxes": [[0, 0, 1, 1]], "labels": [0]}], "with boxes, labels, scores"),
        ([{"boxes": [[0, 0, 1, 1]], "labels": [0, 1], "scores": [1.0]}], "row 0 of predictions has"),
        ([{"boxes": [[5, 5, 1, 1]], "labels": [0], "scores": [1.0]}], "negative size"),
        ([{"boxes": [[5, 5, 1]], "labels": [0], "scores": [1.0]}], r"expected \[N, 4\]"),
    ):
        with pytest.raises(ArgumentError, match=message):
            metrics.mean_average_precision(ours, truth)
    with pytest.raises(ArgumentError, match="three numbers"):
        metrics.mean_average_precision(truth, truth, max_detection_thresholds=[10, 1])
