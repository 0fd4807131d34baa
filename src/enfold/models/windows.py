"""Configurations whose layers are of two kinds: some see every token before them, others a window."""

from enfold.models.config import PreTrainedConfig

LOCAL, FULL = "sliding_attention", "full_attention"


class LayeredConfig(PreTrainedConfig):
    """Entries that say layer by layer, or by a rule of the family, what each sees."""

    def slides(self, depth: int) -> bool:
        """The family's rule: whether a layer sees a window only."""
        raise NotImplementedError

    @property
    def layer_types(self) -> list[str]:
        """The kind of every layer: as the file lists them, else by the family's rule."""
        listed = self.entries.get("layer_types")
        return listed or [LOCAL if self.slides(depth) else FULL for depth in range(self.num_hidden_layers)]

    @layer_types.setter
    def layer_types(self, kinds: list[str] | None) -> None:
        self.entries["layer_types"] = kinds

    def window(self, depth: int) -> int | None:
        """Tokens that a layer sees; None for all."""
        return self.sliding_window if self.layer_types[depth] == LOCAL else None


class OptionalWindowConfig(LayeredConfig):
    """Entries whose `sliding_window` counts only where `use_sliding_window` says so (Qwen2 and its kin)."""

    @property
    def sliding_window(self) -> int | None:
        return self.entries.get("sliding_window", self.defaults["sliding_window"]) if self.use_sliding_window else None

    @sliding_window.setter
    def sliding_window(self, size: int | None) -> None:
        self.entries["sliding_window"] = size

    def slides(self, depth: int) -> bool:
        return self.sliding_window is not None and depth >= self.max_window_layers
