"""Code Llama's tokenizer: filling a gap between a prefix and a suffix."""

from copy import copy
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.batch_encoding import BatchEncoding
from enfold.tokenizers.families import marked
from enfold.tokenizers.families.recipes import replace
from enfold.tokenizers.formats.document import sequence, special, template
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast


class CodeLlamaTokenizer(PreTrainedTokenizerFast):
    """LLaMA's BPE with byte fallback and tokens for infilling; `<FILL_ME>` in a text marks the gap."""

    family = marked.CODE_LLAMA
    padding_side = "left"
    fill_token: str | None
    prefix_token: str | None
    middle_token: str | None
    suffix_token: str | None
    eot_token: str | None

    @property
    def prefix_id(self) -> int | None:
        """The id of the token before what stands before the gap."""
        return getattr(self, "prefix_token_id", None)

    @property
    def middle_id(self) -> int | None:
        """The id of the token after which the filling follows."""
        return getattr(self, "middle_token_id", None)

    @property
    def suffix_id(self) -> int | None:
        """The id of the token before what stands after the gap."""
        return getattr(self, "suffix_token_id", None)

    @property
    def eot_id(self) -> int | None:
        """The id of the token that ends the filling."""
        return getattr(self, "eot_token_id", None)

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        *args: Any,
        suffix: Any = None,
        suffix_first: bool = False,
        **options: Any,
    ) -> BatchEncoding:
        """Encode as every tokenizer does, or for infilling.

        Args:
            text: a text, which may have the fill token in it.
            suffix: what stands after the gap, as another way to say it.
            suffix_first: put the suffix before the prefix.
        """
        infilling = suffix is not None
        if infilling:
            text_pair = suffix
        elif isinstance(text, str) and text_pair is None and (fill := self._fill()) and fill in text:
            text, text_pair = self._cut(text)
            infilling = True
        if not infilling or not text_pair:
            return super().__call__(text, text_pair, *args, **options)
        special_tokens = options.pop("add_special_tokens", True)
        other = self._infilling(suffix_first, special_tokens)
        return PreTrainedTokenizerFast.__call__(other, _spaced(text), text_pair, *args, **options)

    def tokenize(self, text: str, suffix: str | None = None, suffix_first: bool = False, **options: Any) -> list[str]:  # type: ignore[override]
        """The tokens of a text, or of a prefix and a suffix around a gap."""
        if suffix is None and (fill := self._fill()) and fill in text:
            text, suffix = self._cut(text)
        if not suffix:
            return super().tokenize(text, **options)
        other = self._infilling(suffix_first, False)
        options.setdefault("add_special_tokens", False)
        return PreTrainedTokenizerFast.tokenize(other, _spaced(text), suffix, **options)

    def _fill(self) -> str | None:
        return getattr(self, "fill_token", None)

    def _cut(self, text: str) -> tuple[str, str]:
        cut = text.split(str(self.fill_token))
        if len(cut) != 2:
            raise ArgumentError(f"A text can have one {self.fill_token!r}, this one has {len(cut) - 1}.")
        return cut[0], cut[1]

    def _infilling(self, suffix_first: bool, special_tokens: bool) -> "CodeLlamaTokenizer":
        """This tokenizer with the template for infilling."""
        names = [getattr(self, f"{name}_token", None) for name in ("prefix", "middle", "suffix")]
        ids = [None if name is None else self.convert_tokens_to_ids(name) for name in names]
        if None in ids:
            raise ArgumentError("Infilling needs prefix_token, middle_token and suffix_token, which are not all set.")
        tokens: dict[str, Any] = dict(zip(map(str, names), ids, strict=True))
        before, middle, after = map(special, map(str, names))
        if suffix_first:
            items = [before, after, sequence("B"), middle, sequence("A")]
        else:
            items = [before, sequence("A"), after, sequence("B"), middle]
        if self.add_bos_token and special_tokens:
            items.insert(0, special(str(self.bos_token)))
            tokens[str(self.bos_token)] = self.bos_token_id
        if self.add_eos_token and special_tokens:
            items.append(special(str(self.eos_token)))
            tokens[str(self.eos_token)] = self.eos_token_id
        other = copy(self)
        other._replace_sections(post_processor=template([sequence("A")], items, tokens), normalizer=replace(" ", "▁"))
        return other


def _spaced(text: Any) -> Any:
    if isinstance(text, str):
        return f" {text}"
    return [f" {one}" if isinstance(one, str) else one for one in text]
