"""The tokenizer that users hold: a vocabulary with its options, special tokens and chat template."""

import json
import os
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from enfold.base.errors import ArgumentError, TokenizerError
from enfold.base.logging import get_logger
from enfold.tokenizers.bare import bare_vocabulary, kept_vocabulary
from enfold.tokenizers.calls import Calls, refuse_unknown
from enfold.tokenizers.chat import Chat
from enfold.tokenizers.engines import (
    added_texts,
    as_special,
    defaults_from_file,
    engine_from_file,
    engine_like,
    given_parts,
)
from enfold.tokenizers.families.recipes import Family, Parts
from enfold.tokenizers.formats.document import Document, begin_end_template, engine_from
from enfold.tokenizers.loading import (
    FileParts,
    Source,
    add_prefix_space,
    find_source,
    settings,
    take_apart,
)
from enfold.tokenizers.mistral_regex import mended
from enfold.tokenizers.padding import UNLIMITED, side
from enfold.tokenizers.retraining import Retraining
from enfold.tokenizers.saving import Saving
from enfold.tokenizers.special_tokens import EXTRA, EXTRA_NAMES, NAMED, SpecialTokens
from enfold.tokenizers.vocabulary import Vocabulary

if TYPE_CHECKING:
    from enfold.tokenizers import AddedToken, Tokenizer

logger = get_logger(__name__)

# Options that every class takes, besides special tokens and what its family adds.
OPTIONS = frozenset(
    {
        "model_max_length",
        "max_len",
        "padding_side",
        "truncation_side",
        "model_input_names",
        "clean_up_tokenization_spaces",
        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
        "split_special_tokens",
        "chat_template",
        "chat_control_tokens",
        "response_template",
        "add_bos_token",
        "add_eos_token",
        "add_prefix_space",
        "model_specific_special_tokens",
        "processor_class",
        "verbose",
        "fix_mistral_regex",
        EXTRA,
        "additional_special_tokens",
    }
)


class PreTrainedTokenizerFast(Vocabulary, SpecialTokens, Calls, Chat, Saving, Retraining):
    """A tokenizer with everything around its engine.

    Usually made by `from_pretrained`. Directly, from one of:

    Args:
        vocab, merges: a vocabulary (dictionary, list of (token, score), or path) and BPE merges (list or path); only
            for the classes of families.
        tokenizer_object: a `Tokenizer`; it is copied.
        tokenizer_file: a tokenizer.json, taken as it is.
        vocab_file, merges_file: paths, as older code passes them.
        added_tokens_decoder: id → AddedToken, to be added in the order of ids.
        options: special tokens (`pad_token="[PAD]"`), `model_max_length` (tokens), `padding_side`, `truncation_side`,
            `chat_template`, `add_bos_token`, …, and what the family takes (`do_lower_case`, …).

    Raises:
        TokenizerError: damaged or contradictory files.
        ArgumentError: options that contradict each other.
    """

    family: ClassVar[Family | None] = None
    vocab_files_names: ClassVar[dict[str, str]] = {"tokenizer_file": "tokenizer.json"}
    model_input_names: list[str] = ["input_ids", "attention_mask"]
    padding_side: str = "right"
    truncation_side: str = "right"
    is_fast = True
    pad_token_type_id = 0
    fix_mistral_regex: bool

    def __init__(
        self,
        vocab: Any = None,
        merges: Any = None,
        *,
        tokenizer_object: Any = None,
        tokenizer_file: str | os.PathLike | None = None,
        vocab_file: str | os.PathLike | None = None,
        merges_file: str | os.PathLike | None = None,
        added_tokens_decoder: "Mapping[int, AddedToken] | None" = None,
        name_or_path: str = "",
        _parts: FileParts | None = None,
        _document: Document | None = None,
        **options: Any,
    ):
        family = type(self).family
        given = dict(options)
        self.name_or_path = name_or_path
        self._promoted: list[AddedToken] = []
        self._warned: set[str] = set()
        self._declared_class: str | None = options.pop("_declared_class", None)
        self.vocab_file: Path | None = None
        if family is not None:
            options = self._with_defaults(family, options)
        engine, document = None, _document
        post_processor = None
        self._file_has_template = _parts is not None and _parts.post_processor is not None
        if tokenizer_object is not None:
            engine = engine_like(tokenizer_object)
        elif tokenizer_file is not None:
            engine = engine_from_file(Path(tokenizer_file))
        elif document is None:
            parts = _parts or FileParts(given_parts(vocab, merges, vocab_file, merges_file))
            if family is None:
                raise TokenizerError(
                    f"{type(self).__name__} needs tokenizer_file= or tokenizer_object=; a bare vocabulary needs the "
                    "class of its family (BertTokenizer, GPT2Tokenizer, …)."
                )
            document = family.build(parts.parts, options)
            post_processor = parts.post_processor
            defaults_from_file(options, parts.truncation, parts.padding)
        if engine is not None:
            defaults_from_file(options, engine.truncation, engine.padding)
            engine.no_truncation()
            engine.no_padding()
        self._take_options(options)
        tokens = self._tokens_to_add(
            added_tokens_decoder or {}, document.added() if document is not None else added_texts(engine)
        )
        flags = (bool(options.get("add_bos_token")), bool(options.get("add_eos_token")))
        explicit = "add_bos_token" in options or "add_eos_token" in options
        if document is not None:
            document.add(tokens)
            if explicit or post_processor is None:
                post_processor = self._begin_end(*flags, document.ids)
            if _document is None and (own := self._finish(document, options)) is not None:
                post_processor = own
            if document.sections["post_processor"] is None or explicit:
                document.sections["post_processor"] = post_processor
            engine = document.build()
        else:
            assert engine is not None
            # A token of the file that the configuration names is special, whatever the file says.
            named = set(self.special_tokens_map.values())
            file_tokens = engine.get_added_tokens_decoder().values()
            self._promoted = [as_special(t) for t in file_tokens if not t.special and t.content in named]
            if tokens or self._promoted:
                engine.add_tokens([*self._promoted, *tokens])
        assert engine is not None
        self._tokenizer = engine
        self._add_bos, self._add_eos = flags
        if explicit and document is None:
            self._set_begin_end(*flags)
        kept = {key: value for key, value in given.items() if not key.startswith("_")}
        self.init_kwargs: dict[str, Any] = {**(family.defaults if family else {}), **kept}

    @staticmethod
    def _with_defaults(family: Family, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options and, where they say nothing, the family's."""
        from enfold.tokenizers import AddedToken

        options = {**family.defaults, **options}
        if EXTRA not in options and (own := family.extra(options)):
            options[EXTRA] = own
        for name, flags in family.flags.items():
            if isinstance(options[name], str):
                options[name] = AddedToken(options[name], **flags)
        return options

    def _finish(self, document: Document, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """The post-processor of the family, which wins over the file's, if it has its own."""
        family = type(self).family
        return None if family is None or family.finish is None else family.finish(document, options)

    def _take_options(self, options: dict[str, Any]) -> None:
        """Attributes from options; what is no option of enfold's stays in `init_kwargs` alone."""
        limit = options.get("model_max_length", options.get("max_len"))
        if limit is not None and (not isinstance(limit, (int, float)) or limit < 0):
            raise ArgumentError(f"model_max_length must be a number of tokens, got {limit!r}.")
        self.model_max_length = UNLIMITED if limit is None else int(limit)
        self.padding_side = side(options.get("padding_side") or type(self).padding_side, "padding_side")
        self.truncation_side = side(options.get("truncation_side") or type(self).truncation_side, "truncation_side")
        self.model_input_names = list(options.get("model_input_names") or type(self).model_input_names)
        self.clean_up_tokenization_spaces = bool(options.get("clean_up_tokenization_spaces", False))
        name = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
        self.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = bool(options.get(name, False))
        self.split_special_tokens = bool(options.get("split_special_tokens", False))
        self.verbose = bool(options.get("verbose", False))
        self.add_prefix_space = options.get("add_prefix_space", False)
        template = options.get("chat_template")
        if isinstance(template, (list, tuple)):
            template = {entry["name"]: entry["template"] for entry in template}
        self.chat_template = template
        self.chat_control_tokens = options.get("chat_control_tokens")
        if not isinstance(self.chat_control_tokens, (list, tuple, type(None))):
            raise ArgumentError(f"chat_control_tokens must be a list of tokens, got {self.chat_control_tokens!r:.80}.")
        self.response_template = options.get("response_template")
        family = type(self).family
        for key in family.defaults if family is not None else ():
            if key not in NAMED and not key.endswith("_token") and not hasattr(type(self), key):
                self.__dict__[key] = options[key]

        extra = options.get(EXTRA) or options.get("additional_special_tokens") or []
        named = {key: options.get(key) for key in NAMED}
        specific = {
            key: value
            for key, value in options.items()
            if key.endswith("_token") and key not in NAMED and value is not None and not isinstance(value, bool)
        }
        specific.update(options.get("model_specific_special_tokens") or {})
        if isinstance(extra, dict):
            specific, extra = {**specific, **extra}, []
        if not isinstance(extra, (list, tuple)):
            raise ArgumentError(f"{EXTRA} must be a list of tokens or an object of name → token, got {extra!r:.80}.")
        self._set_special_tokens({**named, **specific}, extra)

    def _tokens_to_add(self, decoder: "Mapping[int, AddedToken]", known: Sequence[str]) -> "list[AddedToken]":
        """Tokens that the files or options name, in the order in which they get ids."""
        from enfold.tokenizers import AddedToken

        tokens: list[Any] = [token for _, token in sorted(decoder.items())]
        texts = {*known, *map(str, tokens)}
        # A text may come twice, as a bare name and with flags; the later one's flags hold.
        seen = set(map(repr, tokens))
        for token in [*self._special_tokens.values(), *self._extra_special]:
            if token is not None and str(token) not in texts and repr(token) not in seen:
                tokens.append(token)
                seen.add(repr(token))
        named = {str(token) for token in self._special_tokens.values() if token is not None}
        result = []
        for token in tokens:
            if isinstance(token, str):
                token = AddedToken(token, special=True, normalized=False)
            elif not token.special and str(token) in named:
                token = as_special(token)
            result.append(token)
        return result

    def _begin_end(self, begin: bool, end: bool, ids: Any) -> dict[str, Any]:
        bos, eos = self.bos_token, self.eos_token
        first = (bos, ids([bos])[bos]) if begin and bos is not None else None
        last = (eos, ids([eos])[eos]) if end and eos is not None else None
        return begin_end_template(first, last)

    def _set_begin_end(self, begin: bool, end: bool) -> None:
        made = self._begin_end(
            begin, end, lambda tokens: {token: self._tokenizer.token_to_id(token) for token in tokens}
        )
        self._replace_sections(post_processor=made)
        self._add_bos, self._add_eos = begin, end

    def _replace_sections(self, **sections: Any) -> None:
        """Other components, in the form of a tokenizer.json; copies of this tokenizer keep theirs."""
        from enfold.tokenizers import _engine
        from enfold.tokenizers.components import component_of

        slots = {"normalizer": _engine.NormalizerSlot, "post_processor": _engine.PostProcessorSlot}
        engine = copy(self._tokenizer)
        for name, section in sections.items():
            setattr(engine, name, component_of(slots[name](json.dumps(section, ensure_ascii=False))))
        self._tokenizer = engine

    def _rebuilt(self, document: str) -> "Tokenizer":
        """An engine from a changed document; what a document can't say is said again."""
        engine = engine_from(document, self.name_or_path or type(self).__name__)
        if self._promoted:
            engine.add_tokens(self._promoted)
        return engine

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        gguf_file: str | None = None,
        use_fast: bool | None = None,
        trust_remote_code: bool | None = None,
        _source: Source | None = None,
        _declared_class: str | None = None,
        **overrides: Any,
    ) -> "PreTrainedTokenizerFast":
        """Load a tokenizer.

        Args:
            pretrained_model_name_or_path: a repository id, a folder, or a tokenizer.json, vocab.txt or GGUF file.
            cache_dir, local_files_only, token, revision, subfolder: where to look, as everywhere in enfold.
            gguf_file: take the vocabulary and chat template of this GGUF file of the repository.
            use_fast: accepted; there is one engine.
            trust_remote_code: accepted; code of a repository is never run, and this class needs none.
            overrides: options that win over the files': special tokens, `padding_side`, `model_max_length`, …;
                `fix_mistral_regex=True` mends the pattern of old Mistral files.

        Raises:
            HubError and its kin: the repository or a file can't be had.
            TokenizerError: no tokenizer in it, or a damaged one.
            ArgumentError: an override that no tokenizer knows.
        """
        where = {
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
            "token": token,
            "revision": revision,
            "subfolder": subfolder,
        }
        source = _source or find_source(pretrained_model_name_or_path, gguf_file=gguf_file, **where)
        known = {*OPTIONS, *(cls.family.defaults if cls.family else ())}
        if strange := [key for key in overrides if key not in known and not key.endswith("_token")]:
            refuse_unknown(cls.from_pretrained, strange, [*sorted(known), *NAMED, *where])
        options = settings(source, overrides)
        options["name_or_path"] = source.name
        if _declared_class is not None:
            options["_declared_class"] = _declared_class
        tokenizer = cls._from_source(source, options, overrides)
        fixed = mended(tokenizer._tokenizer, source, options.get("fix_mistral_regex"))
        if fixed is not None:
            tokenizer.fix_mistral_regex = fixed
        return tokenizer

    @classmethod
    def _from_source(
        cls, source: Source, options: dict[str, Any], overrides: Mapping[str, Any]
    ) -> "PreTrainedTokenizerFast":
        """A tokenizer from what a repository has."""
        if source.gguf is not None:
            from enfold.tokenizers.formats.gguf_vocabulary import read_gguf_vocabulary

            vocabulary = read_gguf_vocabulary(source.gguf)
            options = {**options, **vocabulary.config, **overrides}
            return cls(_document=vocabulary.document, **options)
        path = source.tokenizer_file
        if path is None:
            bare = bare_vocabulary(source, cls.family, options)
            parts = None if bare.parts is None else FileParts(bare.parts)
            tokenizer = cls(_parts=parts, _document=bare.document, **{**options, **bare.options})
            tokenizer.vocab_file = bare.path
            return tokenizer
        if cls.family is None or not cls.family.rebuilds:
            tokenizer = cls(tokenizer_file=path, **options)
            tokenizer.vocab_file = kept_vocabulary(source, cls.family)
            if "add_prefix_space" in overrides:
                tokenizer._set_prefix_space(bool(overrides["add_prefix_space"]))
            return tokenizer
        parts = take_apart(path)
        if "added_tokens_decoder" not in source.config:
            options["added_tokens_decoder"] = {**options["added_tokens_decoder"], **dict(parts.added)}
        tokenizer = cls(_parts=parts, **options)
        tokenizer.vocab_file = kept_vocabulary(source, cls.family)
        tokenizer._tell_differences(parts, path)
        return tokenizer

    def _set_prefix_space(self, value: bool) -> None:
        changed = add_prefix_space(self._tokenizer.to_str(), value, self.name_or_path)
        self._tokenizer = self._rebuilt(changed)

    def _tell_differences(self, parts: FileParts, path: Path) -> None:
        """The family's pipeline stands in for the file's; where they differ, say so."""
        family = type(self).family
        assert family is not None
        options = {**family.defaults, **self.init_kwargs}
        bare = Parts(merges=[], charsmap=parts.parts.charsmap)
        own = family.build(bare, options).sections
        differing = [name for name in ("normalizer", "pre_tokenizer") if own[name] != parts.sections[name]]
        if differing:
            logger.info(
                "%s: the %s differs from what %s builds from tokenizer_config.json; the class's is used, as in "
                "transformers 5. PreTrainedTokenizerFast.from_pretrained takes the file as it is.",
                path,
                " and the ".join(differing),
                type(self).__name__,
            )

    @property
    def add_bos_token(self) -> bool:
        """Whether encoding begins with `bos_token`; setting it replaces the post-processor."""
        return self._add_bos

    @add_bos_token.setter
    def add_bos_token(self, value: bool) -> None:
        self._set_begin_end(bool(value), self._add_eos)

    @property
    def add_eos_token(self) -> bool:
        """Whether encoding ends with `eos_token`; setting it replaces the post-processor."""
        return self._add_eos

    @add_eos_token.setter
    def add_eos_token(self, value: bool) -> None:
        self._set_begin_end(self._add_bos, bool(value))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_requests": {}, "_warned": set()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._promoted:
            self._tokenizer.add_tokens(self._promoted)

    def __repr__(self) -> str:
        added = "\n\t".join(f"{index}: {token!r}," for index, token in self.added_tokens_decoder.items())
        return (
            f"{type(self).__name__}(name_or_path='{self.name_or_path}', vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side='{self.padding_side}', "
            f"truncation_side='{self.truncation_side}', special_tokens={self.special_tokens_map}, "
            f"added_tokens_decoder={{\n\t{added}\n}})"
        )


PreTrainedTokenizer = PreTrainedTokenizerFast


assert not EXTRA_NAMES & frozenset(NAMED)
