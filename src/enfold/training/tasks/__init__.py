"""Tasks as data: how rows become inputs, which model learns them, which collator and metric go with it.

from enfold.training.tasks import prepare_task

run = prepare_task("text-classification", model="my-bert", data="reviews.csv", output_dir="out", learning_rate=3e-5)
run.train()

`enfold train` is this on the command line. A task is one file of this folder.
"""

from enfold.training.tasks.prepare import TASKS, TaskRun, prepare_task
from enfold.training.tasks.teaching import Teaching

__all__ = ["TASKS", "TaskRun", "Teaching", "prepare_task"]
