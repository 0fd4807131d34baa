"""A text in another language."""

from typing import Any

from enfold.base.errors import ArgumentError
from enfold.training.tasks.writing import Writing


class Translation(Writing):
    """Columns of texts and translations, or one `translation` column of `{"en": …, "de": …}` and two languages."""

    options = (*Writing.options, "source_lang", "target_lang")
    score, numbers = "sacrebleu", ("score",)

    def check(self, rows: Any, which: str) -> None:
        if self._named_languages:
            for option in ("source_lang", "target_lang"):
                language = self.chosen.get(option)
                held = rows[0]["translation"] if len(rows) and "translation" in rows.column_names else {}
                if language not in held:
                    raise ArgumentError(
                        f"{option} is {language!r}, and the {which} data's column 'translation' has "
                        f"{', '.join(held) or 'nothing: name text_column and label_column instead'}"
                    )
        else:
            super().check(rows, which)

    @property
    def _named_languages(self) -> bool:
        """Whether languages say which texts to take."""
        untouched = all(self.named[option] == default for option, default in self.columns.items())
        return untouched and bool(self.chosen.get("source_lang") or self.chosen.get("target_lang"))

    def texts(self, rows: dict[str, list[Any]]) -> tuple[list[str], list[str]]:
        for option, name in (("source_lang", "src_lang"), ("target_lang", "tgt_lang")):
            if self.chosen.get(option) and hasattr(self.tokenizer, name):
                setattr(self.tokenizer, name, self.chosen[option])
        if not self._named_languages:
            return super().texts(rows)
        pairs, languages = rows["translation"], (self.chosen["source_lang"], self.chosen["target_lang"])
        return [pair[languages[0]] for pair in pairs], [pair[languages[1]] for pair in pairs]
