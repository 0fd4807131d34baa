"""Languages of translation: how a tokenizer is told them, and what generation begins with."""

import re
from collections.abc import Mapping
from copy import copy
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.base.logging import get_logger
from enfold.pipelines.encoding import Row, encode
from enfold.pipelines.registry import TRANSLATION

logger = get_logger(__name__)

# Tokens in front of a text that say which language is wanted (Marian).
_FRONT = re.compile(r">>(.+?)<<")
# ISO 639-1 and 639-3 names of one language: Marian's repositories use either.
_NAMES = (
    "af afr ar ara az aze be bel bg bul bn ben br bre bs bos ca cat cs ces cy cym da dan de deu el ell en eng eo epo "
    "es spa et est eu eus fa fas fi fin fr fra fy fry ga gle gl glg gu guj he heb hi hin hr hrv hu hun hy hye id ind "
    "is isl it ita ja jpn ka kat kk kaz ko kor lb ltz lt lit lv lav mk mkd mr mar ms msa mt mlt nb nob nl nld nn nno "
    "oc oci pl pol pt por ro ron ru rus sk slk sl slv sq sqi sr srp sv swe sw swa ta tam te tel th tha tl tgl tr tur "
    "uk ukr ur urd uz uzb vi vie zh zho"
)
_OTHER_NAME: dict[str, str] = {}
for _short, _long in zip(_NAMES.split()[::2], _NAMES.split()[1::2], strict=True):
    _OTHER_NAME |= {_short: _long, _long: _short}


def languages_of_task(task: str) -> tuple[str | None, str | None]:
    """ "translation_en_to_de" → ("en", "de")."""
    found = re.fullmatch(TRANSLATION, task)
    return (found[1], found[2]) if found else (None, None)


class Languages:
    """What a tokenizer makes of languages.

    Tokenizers of several languages (M2M100, NLLB, mBART) put a code beside the text, and say which token the
    translation begins with. Models into several languages (Marian's) read the wanted one in front of the text,
    `>>fra<<`. Others take no languages. The tokenizer itself is never changed, so calls may overlap.

    Attributes:
        several: whether both languages must be said.
        targets: what may stand in front of a text, without the angles.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.several = hasattr(tokenizer, "_build_translation_inputs")
        self._begins: dict[tuple[str, str], int] = {}
        known = getattr(tokenizer, "supported_language_codes", None) or tokenizer.all_special_tokens
        codes = () if self.several else map(_FRONT.fullmatch, known)
        self.targets = {code[1] for code in codes if code}

    def check(self, source: str | None, target: str | None, *, asked: bool) -> None:
        """Refuse what this tokenizer can't translate between.

        Args:
            asked: the call names the languages; otherwise the task's name does, and of some models it says no more
                than what they do anyway.

        Raises:
            ArgumentError: a language is missing, or unknown to the tokenizer.
        """
        if self.several and source is not None and target is not None:
            self.begin(source, target)
        if self.targets and target is not None and self._front(target) is None:
            some = ", ".join(map(repr, sorted(self.targets)[:8]))
            if asked:
                raise ArgumentError(f"tgt_lang is {target!r}, and this model translates into {some}, …")
            logger.warning(
                "this model is told its target language in front of a text, and knows no %r: texts are read as they "
                "are. Pass tgt_lang=, for example %s.",
                target,
                some,
            )

    def _front(self, target: str | None) -> str | None:
        """The name that the model knows a target language by."""
        names = (target, _OTHER_NAME.get(target or ""))
        return next((name for name in names if name in self.targets), None)

    def begin(self, source: str | None, target: str | None) -> int | None:
        """The token that a translation begins with; None where the model speaks one language."""
        if not self.several:
            return None
        pair = self._pair(source, target)
        if pair not in self._begins:
            self._build(pair, [""], {})
        return self._begins[pair]

    def encode(self, texts: list[str], source: str | None, target: str | None, call: Mapping[str, Any]) -> list[Row]:
        """Tokenise source texts."""
        if not self.several:
            front = self._front(target)
            if front is not None:  # texts that say it themselves are left as they are
                texts = [text if _FRONT.match(text) else f">>{front}<< {text}" for text in texts]
            return encode(self.tokenizer, texts, None, call)
        return [Row(ids) for ids in self._build(self._pair(source, target), texts, call)]

    def _pair(self, source: str | None, target: str | None) -> tuple[str, str]:
        if source is None or target is None:
            raise ArgumentError(
                f"{type(self.tokenizer).__name__} knows several languages: pass src_lang= and tgt_lang=, by its codes, "
                f"for example {self._codes()}"
            )
        return source, target

    def _codes(self) -> str:
        known = list(
            getattr(self.tokenizer, "lang_code_to_id", None) or getattr(self.tokenizer, "lang_code_to_token", {})
        )
        return ", ".join(map(repr, known[:6])) or f"{getattr(self.tokenizer, 'src_lang', None)!r}"

    def _build(self, pair: tuple[str, str], texts: list[str], call: Mapping[str, Any]) -> list[list[int]]:
        source, target = pair
        for name, code in (("src_lang", source), ("tgt_lang", target)):
            self._check_code(name, code)
        # A copy: the source language is a state of the tokenizer, and the pipeline is shared by threads.
        inputs = copy(self.tokenizer)._build_translation_inputs(texts, src_lang=source, tgt_lang=target, **call)
        self._begins[pair] = inputs["forced_bos_token_id"]
        return inputs["input_ids"]

    def _check_code(self, name: str, code: str) -> None:
        known = getattr(self.tokenizer, "lang_code_to_id", None) or getattr(self.tokenizer, "lang_code_to_token", None)
        special = set(self.tokenizer.all_special_tokens)
        if code in (known or ()) or code in special or f"__{code}__" in special:
            return
        raise ArgumentError(
            f"{name} is {code!r}, and {type(self.tokenizer).__name__} knows no such language; its codes are like "
            f"{self._codes()}"
        )
