"""What Whisper wrote of a recording in overlapping pieces → one text, with the times of its phrases or words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enfold.base.logging import get_logger
from enfold.tokenizers.batch_encoding import to_python
from enfold.tokenizers.families.languages import WHISPER

if TYPE_CHECKING:
    from enfold.tokenizers.families.whisper import WhisperTokenizer

logger = get_logger(__name__)

# Timestamps in the 30 seconds that the model hears at once.
_SEGMENT = 1500
_BEFORE = "\"'“¡¿([{-"  # punctuation that belongs to the word behind it
_AFTER = "\"'.。,，!！?？:：”)]}、"  # and to the word before it
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_WITHOUT_SPACES = frozenset({"chinese", "japanese", "thai", "lao", "myanmar", "cantonese"})
_TORN = "\ufffd"

Times = tuple[float, float]  # seconds


@dataclass(slots=True)
class Run:
    """Tokens that were written one after the other, and when each was said, if that is known."""

    tokens: list[int] = field(default_factory=list)
    times: list[Times] = field(default_factory=list)


def joined(runs: Sequence[Run]) -> Run:
    """Runs of pieces that overlap in the recording as one run.

    Each is shifted along the one before; where most tokens agree, and their times are in order, the first is left and
    the second entered in the middle of the overlap.
    """
    timed = any(run.times for run in runs)
    made, left = Run(), runs[0]
    for right in runs[1:]:
        size, other = len(left.tokens), len(right.tokens)
        best, overlap = 0.0, (size, size, 0, 0)
        for shift in range(1, size + other):
            start, stop = max(0, size - shift), min(size, size + other - shift)
            begin, end = max(0, shift - size), min(other, shift)
            same = [x == y for x, y in zip(left.tokens[start:stop], right.tokens[begin:end], strict=True)]
            if timed:
                order = zip(left.times[start:stop], right.times[begin:end], strict=True)
                same = [equal and x <= y for equal, (x, y) in zip(same, order, strict=True)]
            count = sum(same)
            share = count / shift + shift / 10_000  # long overlaps win among equals
            if count > 1 and share > best:
                best, overlap = share, (start, stop, begin, end)
        leave, enter = (overlap[0] + overlap[1]) // 2, (overlap[2] + overlap[3]) // 2
        made.tokens += left.tokens[:leave]
        made.times += left.times[:leave]
        left = Run(right.tokens[enter:], right.times[enter:])
    return Run(made.tokens + left.tokens, made.times + left.times)


def words_of(tokenizer: "WhisperTokenizer", tokens: Sequence[int], language: str | None) -> list[tuple[str, list[int]]]:
    """The words of some tokens, each with the places of its tokens; punctuation goes with its word."""
    words = _characters(tokenizer, tokens)
    if (language or tokenizer.language or "english") not in _WITHOUT_SPACES:
        words = _at_spaces(words, [tokens[places[0]] >= tokenizer.eos_token_id for _, places in words])  # type: ignore[operator]
    return _with_punctuation(words)


def _characters(tokenizer: "WhisperTokenizer", tokens: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Groups of tokens that are whole characters together."""
    whole = tokenizer.decode(tokens, decode_with_timestamps=True)
    found: list[tuple[str, list[int]]] = []
    places: list[int] = []
    passed = 0
    for place in range(len(tokens)):
        places.append(place)
        text = tokenizer.decode([tokens[k] for k in places], decode_with_timestamps=True)
        torn = passed + text.index(_TORN) if _TORN in text else None
        # A mark for torn characters may be what the model wrote.
        if torn is None or torn >= len(whole) or whole[torn] == _TORN:
            found.append((text, places))
            passed += len(text)
            places = []
    return found


def _at_spaces(pieces: list[tuple[str, list[int]]], special: list[bool]) -> list[tuple[str, list[int]]]:
    found: list[tuple[str, list[int]]] = []
    for (text, places), alone in zip(pieces, special, strict=True):
        if alone or text.startswith(" ") or text.strip() in _MARKS or not found:
            found.append((text, list(places)))
        else:
            found[-1] = (found[-1][0] + text, found[-1][1] + places)
    return found


def _with_punctuation(words: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    words = list(words)
    behind = len(words) - 1
    for at in range(len(words) - 2, -1, -1):
        text, places = words[at]
        if text.startswith(" ") and text.strip() in _BEFORE:
            words[behind] = (text + words[behind][0], places + words[behind][1])
            words[at] = ("", [])
        else:
            behind = at
    before = 0
    for at in range(1, len(words)):
        text, places = words[at]
        if not words[before][0].endswith(" ") and text in _AFTER:
            words[before] = (words[before][0] + text, words[before][1] + places)
            words[at] = ("", [])
        else:
            before = at
    return [(text, places) for text, places in words if text]


class Transcript:
    """Text that is put together as the model's outputs come.

    Args:
        tokenizer: theirs.
        timestamps: False, True (of phrases) or "word".
        language: name the languages.
        precision: seconds that one timestamp token stands for.
    """

    def __init__(self, tokenizer: "WhisperTokenizer", timestamps: bool | str, language: bool, precision: float):
        self.tokenizer, self.timestamps, self.language, self.precision = tokenizer, timestamps, language, precision
        self._first_time = tokenizer.convert_tokens_to_ids("<|notimestamps|>") + 1
        self._special = set(tokenizer.all_special_ids)
        self._phrases: list[dict[str, Any]] = []
        self._runs: list[Run] = []  # of the phrase that isn't over
        self._said: str | None = None  # the language heard last
        self._begun = 0.0  # seconds of the recording before the piece
        self._skips = False
        self._phrase = self._new_phrase()

    def add(self, output: Mapping[str, Any]) -> None:
        """The next piece: `tokens` [1, T], for words `token_timestamps` [1, T], and its `stride`: how long it is and
        how much of that overlaps with the pieces before and behind it (seconds)."""
        tokens = self.tokenizer._without_prompt(to_python(output["tokens"])[0])
        times = to_python(output["token_timestamps"])[0] if self.timestamps == "word" else None
        length, left, right = output.get("stride") or (0.0, 0.0, 0.0)
        if "stride" in output:
            self._begun -= left
        first = left / self.precision + self._first_time if left else self._first_time
        last = self._last_before(tokens, length - right) if right else None
        run = Run()
        latest = before_latest = passed = 0.0
        for place, token in enumerate(tokens):
            if token in self._special:
                run = self._hear(token, run)
            elif token < self._first_time:
                run.tokens.append(token)
                if times is not None:
                    begin = times[place - 1] if place else 0.0
                    run.times.append((round(begin + self._begun, 2), round(times[place] + self._begun, 2)))
            else:
                time = float((token - self._first_time) * self.precision)
                if time < latest:
                    # A segment began. If the last one ended open, all of it counts, else only what was closed.
                    closed = place >= 2 and min(tokens[place - 2 : place]) >= self._first_time
                    if place >= 2 and not closed:
                        passed += self.precision * _SEGMENT
                    else:
                        latest = before_latest
                        passed += before_latest
                before_latest, latest = latest, time
                # Of the timestamps in an overlap only those of one piece count; they come in pairs.
                if last and token >= last:
                    self._skips = True
                elif self._skips or (self._runs and token < first):
                    self._skips = False
                else:
                    run = self._mark(round((token - self._first_time) * self.precision + self._begun + passed, 2), run)
        if "stride" in output:
            self._begun += length - right
        if run.tokens:
            self._runs.append(run)
        elif not any(run.tokens for run in self._runs):
            self._phrase, self._runs = self._new_phrase(), []

    def result(self) -> tuple[str, dict[str, Any]]:
        """The text, and {"chunks": …} if times or languages were asked for."""
        if self._runs:
            if self.timestamps:
                logger.warning(
                    "The last phrase has no end: the recording may have been cut within a word, or the timestamps were "
                    "not generated under their rules."
                )
            self._close(joined(self._runs))
        text = "".join(phrase["text"] for phrase in self._phrases)
        if not (self.timestamps or self.language):
            return text, {}
        if self.timestamps == "word":
            return text, {"chunks": [word for phrase in self._phrases for word in phrase["words"]]}
        kept = {"text"} | ({"timestamp"} if self.timestamps else set()) | ({"language"} if self.language else set())
        chunks = [{key: value for key, value in phrase.items() if key in kept} for phrase in self._phrases]
        for chunk in chunks:
            if "timestamp" in chunk:
                chunk["timestamp"] = tuple(chunk["timestamp"])
        return text, {"chunks": chunks}

    def _new_phrase(self) -> dict[str, Any]:
        return {"language": self._said, "timestamp": [None, None], "text": ""}

    def _close(self, run: Run) -> None:
        phrase = self._phrase
        phrase["text"] = self.tokenizer.decode(run.tokens)
        if self.timestamps == "word":
            named = {"language": self._said} if self.language else {}
            phrase["words"] = [
                {"text": text, "timestamp": (run.times[places[0]][0], run.times[places[-1]][1]), **named}
                for text, places in words_of(self.tokenizer, run.tokens, self._said)
            ]
        self._phrases.append(phrase)
        self._runs = []
        self._phrase = self._new_phrase()

    def _hear(self, token: int, run: Run) -> Run:
        """A special token: only those of languages say something."""
        language = WHISPER.get(self.tokenizer.decode([token])[2:-2])
        if language is None:
            return run
        if self._said and language != self._said and not self.timestamps:
            self._close(joined([*self._runs, run]))
            run = Run()
        self._phrase["language"] = self._said = language
        return run

    def _mark(self, time: float, run: Run) -> Run:
        """A timestamp: the beginning of a phrase or its end."""
        stamps = self._phrase["timestamp"]
        if stamps[0] is None:
            stamps[0] = time
        elif time != stamps[0]:
            stamps[1] = time
            self._close(joined([*self._runs, run]))
            return Run()
        return run

    def _last_before(self, tokens: Sequence[int], end: float) -> int | None:
        """The first timestamp of those in the overlap at the end (seconds), or the last one before it."""
        last = None
        for token in reversed(tokens):
            if token >= self._first_time:
                if last is not None and (token - self._first_time) * self.precision < end:
                    break
                last = token
        return last


def transcribed(
    tokenizer: "WhisperTokenizer",
    outputs: Iterable[Mapping[str, Any]],
    timestamps: bool | str | None,
    language: bool | None,
    precision: float,
) -> tuple[str, dict[str, Any]]:
    """The text of a recording; see `Transcript`."""
    transcript = Transcript(tokenizer, timestamps or False, bool(language), precision)
    for output in outputs:
        transcript.add(output)
    return transcript.result()
