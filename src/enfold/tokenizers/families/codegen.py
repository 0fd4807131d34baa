"""CodeGen's tokenizer, which can cut a completion where the function ends."""

import re
from typing import Any

from enfold.tokenizers.families import byte_level
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast


class CodeGenTokenizer(PreTrainedTokenizerFast):
    """GPT-2's byte-level BPE, for programs."""

    family = byte_level.CODEGEN
    return_token_type_ids: bool

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        if self.return_token_type_ids and "token_type_ids" not in self.model_input_names:
            self.model_input_names.append("token_type_ids")

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        truncate_before_pattern: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ids → text.

        Args:
            truncate_before_pattern: regular expressions; the text ends before the first match of any, and before a
                second `print` or `def` at the start of a line.
        """
        text = super().decode(token_ids, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
        if not truncate_before_pattern:
            return text
        if isinstance(text, list):
            return [self.truncate(one, truncate_before_pattern) for one in text]
        return self.truncate(text, truncate_before_pattern)

    def truncate(self, completion: str, truncate_before_pattern: list[str]) -> str:
        """The completion up to what begins something else."""
        for word in ("print", "def"):
            starts = [match.start() for match in re.finditer(f"^{word}", completion, re.MULTILINE)]
            if len(starts) > 1:
                completion = completion[: starts[1]]
        found = (re.compile(pattern, re.MULTILINE).search(completion) for pattern in truncate_before_pattern)
        ends = [match.start() for match in found if match]
        return completion[: min(ends)] if ends else completion
