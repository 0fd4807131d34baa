"""A text in another language."""

from dataclasses import replace
from typing import Any

from enfold.base.errors import ArgumentError
from enfold.training.tasks.writing import Writing


class Translation(Writing):
    """Columns of texts and translations, or one `translation` column of `{"en": …, "de": …}` and two languages.

    Tokenizers of several languages are told them by their own codes: "eng_Latn", "en_XX", "en".
    """

    options = (*Writing.options, "source_lang", "target_lang")
    score, numbers = "sacrebleu", ("score",)

    paired = False

    def check(self, rows: Any, which: str) -> None:
        untouched = all(self.named[option] == default for option, default in self.columns.items())
        languages = [self.chosen.get(option) for option in ("source_lang", "target_lang")]
        lacks = not {column for column in self.named.values() if column} <= set(rows.column_names)
        self.paired = untouched and any(languages) and ("translation" in rows.column_names or lacks)
        if not self.paired:
            super().check(rows, which)
            return
        held = rows[0]["translation"] if len(rows) and "translation" in rows.column_names else {}
        for option, language in zip(("source_lang", "target_lang"), languages, strict=True):
            if language not in held:
                raise ArgumentError(
                    f"{option} is {language!r}, and the {which} data's column 'translation' has "
                    f"{', '.join(held) or 'nothing: name text_column and label_column instead'}"
                )

    def ready(self, model: Any) -> None:
        """What is written begins with the code of the target language, now and wherever the model is loaded."""
        source, target = self.chosen.get("source_lang"), self.chosen.get("target_lang")
        begin = getattr(self.tokenizer, "_build_translation_inputs", None)
        if begin is None or target is None:
            return
        source = source or self.tokenizer.src_lang
        first = begin([""], src_lang=source, tgt_lang=target)["forced_bos_token_id"]
        if first is None or first == self.tokenizer.unk_token_id:
            raise ArgumentError(f"target_lang={target!r} is no language of {type(self.tokenizer).__name__}")
        self.tokenizer.src_lang, self.tokenizer.tgt_lang = source, target
        model.generation_config = replace(model.generation_config, forced_bos_token_id=first)

    def texts(self, rows: dict[str, list[Any]]) -> tuple[list[str], list[str]]:
        if not self.paired:
            return super().texts(rows)
        pairs, languages = rows["translation"], (self.chosen["source_lang"], self.chosen["target_lang"])
        return [pair[languages[0]] for pair in pairs], [pair[languages[1]] for pair in pairs]
