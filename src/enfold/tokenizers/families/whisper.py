"""Whisper's tokenizer: language and task in front of the text, and timestamps in it."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.tokenizers.batch_encoding import BatchEncoding, to_python
from enfold.tokenizers.families import byte_level
from enfold.tokenizers.families.languages import WHISPER, WHISPER_NAMES
from enfold.tokenizers.families.recipes import Options, Section
from enfold.tokenizers.formats.document import Document, sequence, special, template
from enfold.tokenizers.formats.reading import read_json
from enfold.tokenizers.pretrained import PreTrainedTokenizerFast

TASKS = ("translate", "transcribe")
_TIMESTAMP = re.compile(r"<\|(\d+\.\d+)\|>")
_NORMALIZER = "normalizer.json"
# Seconds that one timestamp token stands for, and timestamps in the 30 seconds that the model hears at once.
_PRECISION, _SEGMENT = 0.02, 1500


class WhisperTokenizer(PreTrainedTokenizerFast):
    """GPT-2's byte-level BPE around which `<|startoftranscript|><|en|><|transcribe|>…` and timestamps stand.

    Args:
        language: of the texts: a code ("en") or a name ("english").
        task: "transcribe" or "translate" (into English).
        predict_timestamps: False puts `<|notimestamps|>` before the text.
        normalizer_file: a JSON object of British → American spellings, for `normalize`.
    """

    family = byte_level.WHISPER
    language: str | None
    task: str | None
    predict_timestamps: bool

    def __init__(self, *args: Any, normalizer_file: str | Path | None = None, **options: Any):
        self.language = options.get("language")
        self.task = options.get("task")
        self.predict_timestamps = options.get("predict_timestamps", False)
        super().__init__(*args, **options)
        self.english_spelling_normalizer = None if normalizer_file is None else read_json(Path(normalizer_file))

    def _finish(self, document: Document, options: Options) -> Section | None:
        return self._template(document.id_of)

    def _prefix(self, id_of: Callable[[str], int | None]) -> dict[str, int]:
        """The tokens before a text; what the vocabulary lacks is the unknown token."""
        unknown = None if self.unk_token is None else id_of(self.unk_token)

        def known(token: str) -> int:
            index = id_of(token)
            if index is None and unknown is None:
                raise ArgumentError(f"The vocabulary has neither {token!r} nor an unknown token.")
            return index if index is not None else unknown  # type: ignore[return-value]

        begin = known("<|startoftranscript|>")
        prefix = {"<|startoftranscript|>": begin}
        if self.language is not None:
            code = language_code(self.language)
            # By its place after the begin token, as the model was trained: some vocabularies have fewer languages.
            prefix[f"<|{code}|>"] = begin + 1 + list(WHISPER).index(code)
        if self.task is not None:
            if self.task not in TASKS:
                raise ArgumentError(f"task must be one of {', '.join(TASKS)}; got {self.task!r}.")
            prefix[f"<|{self.task}|>"] = known(f"<|{self.task}|>")
        if not self.predict_timestamps:
            prefix["<|notimestamps|>"] = known("<|notimestamps|>")
        return prefix

    def _template(self, id_of: Callable[[str], int | None]) -> Section:
        prefix = self._prefix(id_of)
        end = str(self.eos_token)
        index = id_of(end)
        assert index is not None
        first = [special(token) for token in prefix]
        single = [*first, sequence("A"), special(end)]
        pair = [*first, sequence("A"), sequence("B", 1), special(end, 1)]
        return template(single, pair, {end: index, **prefix})

    @property
    def prefix_tokens(self) -> list[int]:
        """The ids before a text."""
        return list(self._prefix(self._tokenizer.token_to_id).values())

    def set_prefix_tokens(
        self, language: str | None = None, task: str | None = None, predict_timestamps: bool | None = None
    ) -> None:
        """Change what stands before texts; what isn't given stays."""
        before = self.language, self.task, self.predict_timestamps
        self.language = self.language if language is None else language
        self.task = self.task if task is None else task
        self.predict_timestamps = self.predict_timestamps if predict_timestamps is None else predict_timestamps
        try:
            self._replace_sections(post_processor=self._template(self._tokenizer.token_to_id))
        except ArgumentError:
            self.language, self.task, self.predict_timestamps = before
            raise

    def get_decoder_prompt_ids(
        self, task: str | None = None, language: str | None = None, no_timestamps: bool = True
    ) -> list[tuple[int, int]]:
        """(place, id) of what generation must begin with, after the begin token; also sets it for texts."""
        self.set_prefix_tokens(task=task, language=language, predict_timestamps=not no_timestamps)
        return list(enumerate(self.prefix_tokens[1:], start=1))

    def get_prompt_ids(self, text: str, return_tensors: Any = "np") -> Any:
        """The ids of a text that the model is to take as what was said before.

        Raises:
            ArgumentError: a special token in the text.
        """
        encoded = self("<|startofprev|>", " " + text.strip(), add_special_tokens=False)
        first = self.all_special_ids[0]
        for index in encoded["input_ids"][1:]:
            if index >= first:
                raise ArgumentError(f"A prompt can't have the special token {self.convert_ids_to_tokens(index)!r}.")
        if return_tensors is None:
            return encoded["input_ids"]
        return BatchEncoding({"input_ids": encoded["input_ids"]}, tensor_type=return_tensors)["input_ids"]

    def _decode_asr(
        self,
        model_outputs: Iterable[Mapping[str, Any]],
        *,
        return_timestamps: bool | str | None = None,
        return_language: bool | None = None,
        time_precision: float = _PRECISION,
    ) -> tuple[str, dict[str, Any]]:
        """The text of a recording that was heard in pieces, as the speech pipeline asks for it.

        Args:
            model_outputs: of each piece the generated `tokens` [1, T], the `token_timestamps` [1, T] (seconds) if words
                are asked for, and, if pieces overlap, the `stride`: (length, overlap before, overlap behind), seconds.
            return_timestamps: True for the times of phrases, "word" for those of words.
            return_language: say which language a phrase is in.
            time_precision: seconds that one timestamp token stands for.

        Returns:
            The text, and {"chunks": [{"text", "timestamp", "language"}, …]} if times or languages were asked for.
        """
        from enfold.tokenizers.families.whisper_speech import transcribed

        return transcribed(self, model_outputs, return_timestamps, return_language, time_precision)

    @lru_cache  # noqa: B019 (a table of 1501 ids for a tokenizer that lives as long as its model)
    def timestamp_ids(self, time_precision: float = _PRECISION) -> list[int]:
        """The ids of the timestamps from 0 to 30 seconds."""
        return self.convert_tokens_to_ids([f"<|{step * time_precision:.2f}|>" for step in range(_SEGMENT + 1)])

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        output_offsets: bool = False,
        time_precision: float = _PRECISION,
        decode_with_timestamps: bool = False,
        normalize: bool = False,
        basic_normalize: bool = False,
        remove_diacritics: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Ids → text without timestamps; a batch of rows gives a list.

        Args:
            token_ids, skip_special_tokens, clean_up_tokenization_spaces: as in every tokenizer; with
                `skip_special_tokens` a prompt in front is left out too.
            output_offsets: return {"text", "offsets"}, the latter the timed pieces of the (one) row.
            time_precision: seconds that one timestamp token stands for.
            decode_with_timestamps: keep them: `<|0.00|> Hello.<|1.20|>`.
            normalize: as English is normalised to compare transcripts.
            basic_normalize: lower case without punctuation, for any language; `remove_diacritics` goes with it.
        """
        ids: Any = to_python(token_ids["input_ids"] if isinstance(token_ids, dict) else token_ids)
        kept = self._without_prompt(ids) if skip_special_tokens else ids
        if decode_with_timestamps:
            rows = kept if kept and isinstance(kept[0], list) else [kept]
            texts = [self._timed_text(row, skip_special_tokens, time_precision) for row in rows]
            text: Any = texts if rows is kept else texts[0]
        else:
            text = super().decode(kept, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
            clean = self._cleaner(normalize, basic_normalize, remove_diacritics)
            text = [clean(one) for one in text] if isinstance(text, list) else clean(text)
        if output_offsets:
            return {"text": text, "offsets": self._offsets(ids, time_precision)}
        return text

    def _cleaner(self, normalize: bool, basic: bool, remove_diacritics: bool) -> Callable[[str], str]:
        def clean(text: str) -> str:
            if normalize:
                text = self.normalize(text)
            elif basic:
                text = self.basic_normalize(text, remove_diacritics=remove_diacritics)
            return _TIMESTAMP.sub("", text)

        return clean

    def _without_prompt(self, ids: Any) -> Any:
        """The row from `<|startoftranscript|>` on, if it begins with a prompt."""
        if not ids or not isinstance(ids, list) or ids[0] != self.convert_tokens_to_ids("<|startofprev|>"):
            return ids
        start = self.convert_tokens_to_ids("<|startoftranscript|>")
        return ids[ids.index(start) :] if start in ids else []

    def _timed_text(self, ids: list[int], skip_special_tokens: bool, precision: float) -> str:
        """The text with its timestamps, which begin anew in each segment of 30 seconds, on one scale."""
        begin = self.all_special_ids[-1] + 1
        # Texts (lists of ids) and timestamps (strings) in turn.
        items: list[Any] = [[]]
        latest = before_latest = passed = 0.0
        for place, index in enumerate(ids):
            if index < begin:
                items[-1].append(index)
                continue
            time = (index - begin) * precision
            if time < latest:
                # A segment began. If the last one ended open, all of it counts, else only what was closed.
                closed = place >= 2 and ids[place - 1] >= begin and ids[place - 2] >= begin
                if place >= 2 and not closed:
                    passed += precision * _SEGMENT
                else:
                    latest = before_latest
                    passed += before_latest
                    items = items[:-2]
            before_latest, latest = latest, time
            items += [f"<|{time + passed:.2f}|>", []]
        decode = super().decode
        return "".join(
            item if isinstance(item, str) else decode(item, skip_special_tokens) if item else "" for item in items
        )

    def _offsets(self, ids: Any, precision: float) -> list[dict[str, Any]]:
        """The pieces between two timestamps: {"text", "timestamp": (from, to)} in seconds."""
        if ids and isinstance(ids[0], list):
            if len(ids) > 1:
                raise ArgumentError("output_offsets=True takes one row at a time.")
            ids = ids[0]
        begin = self.all_special_ids[-1] + 1
        timed = [place for place, index in enumerate(ids) if index >= begin]
        cuts = [after for place, after in pairwise(timed) if after == place + 1]
        if not cuts and len(timed) <= 1:
            return []
        if timed[-1] + 1 not in cuts:
            cuts.append(timed[-1] + 1)
        found = []
        last, latest, passed = timed[0], 0, 0
        for cut in cuts:
            row = ids[last:cut]
            if len(row) > 1:
                start, end = row[0] - begin, row[-1] - begin
                if start < latest:
                    open_end = last >= 2 and not (ids[last - 2] >= begin and ids[last - 1] >= begin)
                    passed += _SEGMENT if open_end else latest
                latest = end
                text = _TIMESTAMP.sub("", super().decode(row))
                times = (start * precision + passed * precision, end * precision + passed * precision)
                found.append({"text": text, "timestamp": times})
            last = cut
        return found

    def normalize(self, text: str) -> str:
        """English text as transcripts are compared: lower case, numbers as digits, American spelling, no fillers."""
        from enfold.tokenizers.families.whisper_text import normalize_english

        return normalize_english(text, self.english_spelling_normalizer or {})

    @staticmethod
    def basic_normalize(text: str, remove_diacritics: bool = False) -> str:
        """Text of any language in lower case, without punctuation, marks and what stands in brackets."""
        from enfold.tokenizers.families.whisper_text import normalize_any

        return normalize_any(text, remove_diacritics=remove_diacritics)

    def save_vocabulary(self, save_directory: Any, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.json, merges.txt and, if there is one, normalizer.json."""
        files = super().save_vocabulary(save_directory, filename_prefix)
        if self.english_spelling_normalizer is None:
            return files
        path = Path(save_directory) / ((f"{filename_prefix}-" if filename_prefix else "") + _NORMALIZER)
        path.write_text(json.dumps(self.english_spelling_normalizer, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return (*files, str(path))


def language_code(language: str) -> str:
    """The code of a language by its code or English name.

    Raises:
        ArgumentError: not one of Whisper's.
    """
    name = language.lower()
    code = WHISPER_NAMES.get(name, name)
    if code not in WHISPER:
        known = WHISPER if len(name) == 2 else WHISPER_NAMES
        raise ArgumentError(f"Whisper knows no language {language!r}. Known: {', '.join(known)}.")
    return code
