"""The training loop: Trainer, its arguments, collators, callbacks, optimisers and checkpoints.

from enfold import Trainer, TrainingArguments

trainer = Trainer(model, TrainingArguments("out"), train_dataset=rows, processing_class=tokenizer)
trainer.train()
"""
