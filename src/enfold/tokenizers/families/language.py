"""Families that put a language code around the text: mBART, mBART-50, NLLB, SeamlessM4T."""

from collections.abc import Callable
from copy import copy
from typing import Any, ClassVar

from enfold.base.errors import ArgumentError
from enfold.tokenizers.batch_encoding import BatchEncoding
from enfold.tokenizers.families import marked, unigram
from enfold.tokenizers.families.languages import MBART, MBART50
from enfold.tokenizers.families.recipes import Options, Section
from enfold.tokenizers.formats.document import Document, sequence, special, template
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast
from enfold.tokenizers.special_tokens import EXTRA


class LanguageTokenizer(PreTrainedTokenizerFast):
    """A tokenizer whose template follows `src_lang`, and `tgt_lang` for texts to be learned."""

    default_language: ClassVar[str]
    # Whether a language that the vocabulary lacks still goes by its name in `tokens()`.
    _keeps_names: ClassVar[bool] = False
    prefix_tokens: list[int] = []
    suffix_tokens: list[int] = []
    tgt_lang: str | None

    def __init__(self, *args: Any, **options: Any):
        source = options.get("src_lang")
        self._src_lang = self.default_language if source is None else self._code(source)
        super().__init__(*args, **options)
        self._remember(self._src_lang, target=False)

    def __call__(self, text: Any = None, *args: Any, **kwargs: Any) -> BatchEncoding:
        """Encode texts in `src_lang`, and those to be learned (`text_target`) in `tgt_lang`."""
        if text is not None and self._language != (self._src_lang, False):
            self._switch_to_input_mode()
        return super().__call__(text, *args, **kwargs)

    def _code(self, language: str) -> str:
        """The token of a language as the user names it."""
        return language

    def _around(self, language: str, target: bool) -> tuple[list[str], list[str]]:
        """The tokens before and after a text of this language."""
        raise NotImplementedError

    @property
    def src_lang(self) -> str:
        """The language of the texts; setting it changes the template."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, language: str) -> None:
        code = self._code(language)
        self.set_src_lang_special_tokens(code)
        self._src_lang = code

    def set_src_lang_special_tokens(self, src_lang: str) -> None:
        """Put the code of a source language around texts, without changing `src_lang`."""
        self._set_language(src_lang, target=False)

    def set_tgt_lang_special_tokens(self, lang: str) -> None:
        """Put the code of a target language around texts, without changing `tgt_lang`."""
        self._set_language(lang, target=True)

    def _finish(self, document: Document, options: Options) -> Section | None:
        return self._language_template(self._src_lang, False, document.id_of)

    def _set_language(self, language: str, target: bool) -> None:
        if not isinstance(language, str):
            raise ArgumentError(f"A language is named by its code, like {self.default_language!r}; got {language!r}.")
        made = self._language_template(language, target, self._tokenizer.token_to_id)
        self._replace_sections(post_processor=made)
        self._remember(language, target)

    def _remember(self, language: str, target: bool) -> None:
        before, after = self._around(language, target)
        self._language = language, target
        self.prefix_tokens, self.suffix_tokens = self.convert_tokens_to_ids(before), self.convert_tokens_to_ids(after)
        self.cur_lang_code = self.convert_tokens_to_ids(language)

    def _language_template(self, language: str, target: bool, id_of: Callable[[str], int | None]) -> Section:
        """A language that the vocabulary lacks is the unknown token."""
        ids: dict[str, int] = {}

        def known(token: str) -> dict[str, Any]:
            index = id_of(token)
            if index is None:
                index = None if self.unk_token is None else id_of(self.unk_token)
                if index is None:
                    raise ArgumentError(f"The vocabulary has neither {token!r} nor an unknown token.")
                token = token if self._keeps_names else str(self.unk_token)
            ids[token] = index
            return special(token)

        before, after = self._around(language, target)
        first, last = [known(token) for token in before], [known(token) for token in after]
        return template([*first, sequence("A"), *last], [*first, sequence("A"), sequence("B"), *last], ids)

    def _switch_to_input_mode(self) -> None:
        self.set_src_lang_special_tokens(self.src_lang)

    def _switch_to_target_mode(self) -> None:
        if self.tgt_lang is None:
            self.tgt_lang = self._src_lang
        self.set_tgt_lang_special_tokens(self.tgt_lang)

    def _for_targets(self) -> "LanguageTokenizer":
        if self.tgt_lang is None:
            self.tgt_lang = self._src_lang
        other = copy(self)
        other._switch_to_target_mode()
        return other

    def _build_translation_inputs(
        self,
        raw_inputs: Any,
        return_tensors: Any = None,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Source texts with the id of the target language's code, which generation must begin with."""
        if src_lang is None or tgt_lang is None:
            raise ArgumentError("A translation needs src_lang and tgt_lang.")
        self.src_lang = src_lang
        inputs = self(raw_inputs, add_special_tokens=True, return_tensors=return_tensors, **kwargs)
        inputs["forced_bos_token_id"] = self.convert_tokens_to_ids(self._code(tgt_lang))
        return inputs


class MBartTokenizer(LanguageTokenizer):
    """mBART's Unigram: `A </s> en_XX`."""

    family = unigram.MBART
    default_language = "en_XX"

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.lang_code_to_id = {code: self.convert_tokens_to_ids(code) for code in MBART}

    def _around(self, language: str, target: bool) -> tuple[list[str], list[str]]:
        return [], [str(self.eos_token), language]


class MBart50Tokenizer(LanguageTokenizer):
    """mBART-50's Unigram: `en_XX A </s>`."""

    family = unigram.MBART50
    default_language = "en_XX"

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        known = set(self.extra_special_tokens)
        self.extra_special_tokens = [*self._extra_special, *(code for code in MBART50 if code not in known)]
        self.lang_code_to_id = {code: self.convert_tokens_to_ids(code) for code in MBART50}
        self.id_to_lang_code = {index: code for code, index in self.lang_code_to_id.items()}

    def _around(self, language: str, target: bool) -> tuple[list[str], list[str]]:
        return [language], [str(self.eos_token)]

    @property
    def cur_lang_code_id(self) -> int:
        """The id of the language in use."""
        return self.cur_lang_code


class NllbTokenizer(LanguageTokenizer):
    """NLLB's BPE over marked spaces: `eng_Latn A </s>`, or with `legacy_behaviour` `A </s> eng_Latn`."""

    family = marked.NLLB
    default_language = "eng_Latn"
    _keeps_names = True
    legacy_behaviour: bool

    def __init__(self, *args: Any, **options: Any):
        if options.get(EXTRA, ()) is None:
            del options[EXTRA]  # none given: the language codes
        super().__init__(*args, **options)

    def _around(self, language: str, target: bool) -> tuple[list[str], list[str]]:
        end = str(self.eos_token)
        return ([], [end, language]) if self.legacy_behaviour else ([language], [end])


class SeamlessM4TTokenizer(LanguageTokenizer):
    """SeamlessM4T's BPE over marked spaces: `__eng__ A </s>`; targets `</s> __fra__ A </s>`."""

    family = marked.SEAMLESS
    default_language = "__eng__"

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **{"src_lang": "eng", **options})
        self.tgt_lang = options.get("tgt_lang") or "fra"

    def __call__(
        self, text: Any = None, *args: Any, src_lang: str | None = None, tgt_lang: str | None = None, **kwargs: Any
    ) -> BatchEncoding:
        """Encode as every tokenizer does; `src_lang` and `tgt_lang` change the tokenizer's own."""
        if src_lang is not None:
            self.src_lang = src_lang
        if tgt_lang is not None:
            self.tgt_lang = tgt_lang
        return super().__call__(text, *args, **kwargs)

    def _code(self, language: str) -> str:
        return language if not isinstance(language, str) or "__" in language else f"__{language}__"

    @property
    def tgt_lang(self) -> str:  # type: ignore[override]
        """The language of texts to be learned; setting it changes the template to that language's."""
        return self._tgt_lang

    @tgt_lang.setter
    def tgt_lang(self, language: str) -> None:
        code = self._code(language)
        self.set_tgt_lang_special_tokens(code)
        self._tgt_lang = code

    def _around(self, language: str, target: bool) -> tuple[list[str], list[str]]:
        end = str(self.eos_token)
        return [*([end] if target else []), language], [end]
