"""Pipelines of streamed rows: a tree of nodes, each of which can be cut into parts and started again at any row.

- `block`: rows on their way, Arrow tables or Python objects, and the place they stand at.
- `node`: what a node of the tree is. `read` (leaves), `order` (take, skip, repeat, every n-th, one after the other),
  `columns`, `apply` (functions), `batching`, `mixing` (interleaved, side by side), `shuffle`, `prefetch`.
- `show`: what the consumer gets: rows and batches in a format.
- `loader`: a torch DataLoader that says where it is.
"""
