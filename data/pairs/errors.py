"""What the data side complains with, and the tree it expects."""
from __future__ import annotations

EXPECTED_TREE = """\
  dataset/coco/train2017/*.jpg
  dataset/coco/val2017/*.jpg
  dataset/coco/annotations/instances_train2017.json
  dataset/coco/annotations/instances_val2017.json"""


class DataError(ValueError):
    """Training data that cannot be used; the message says what was found, what is expected and what to do."""
