"""Texts to learn from: what packages hold, as examples, and what rules make."""

import ast
import json
import random
import re
from collections.abc import Mapping

Files = Mapping[str, bytes]


def news(files: Files) -> list[tuple[str, str]]:
    """(text, topic) of each article, in random order."""
    found = [(data.decode("latin-1"), name.split("/")[-2]) for name, data in sorted(files.items())]
    random.Random(0).shuffle(found)
    return found


def mails(files: Files) -> list[tuple[str, str]]:
    """(subject and body, "spam" or "ham") of each mail, in random order; other headers would give it away."""
    found = []
    for name, data in sorted(files.items()):
        head, _, body = json.loads(data)["text"].partition("\n\n")
        subject = re.search(r"^Subject: *(.*)", head, re.MULTILINE)
        text = f"{subject[1] if subject else ''}\n{body[:1500]}".strip()
        if text:
            found.append((text, "spam" if name.split("/")[-2].startswith("spam") else "ham"))
    random.Random(0).shuffle(found)
    return found


def translations(files: Files, longest: int) -> dict[str, list[tuple[str, str]]]:
    """(English, translation) pairs of each language, up to a number of characters, each English text once."""
    pairs: dict[str, dict[str, str]] = {}
    for name, data in sorted(files.items()):
        language = name.partition("/")[0]
        for entry in data.decode().split("\n\n"):
            found = re.search(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', entry, re.MULTILINE)
            if found is None or "fuzzy" in entry[: found.start()]:
                continue
            english, other = ("".join(map(ast.literal_eval, text.splitlines())) for text in found.groups())
            if english and other and max(len(english), len(other)) <= longest:
                pairs.setdefault(language, {}).setdefault(english, other)
    return {language: list(found.items()) for language, found in pairs.items()}


def _words(text: str) -> list[str]:
    return text.split()


PEOPLE = _words(
    "Anna Bruno Clara David Emma Felix Greta Hugo Irene Jonas Karin Louis Maria Nora Oscar Paula Robert Simon Tom "
    "Ursula Victor Walter Alice Arthur Daniel Edward Frank George Henry James Jane Julia Laura Martin Oliver "
    "Peter"
)
PLACES = _words(
    "Paris London Rome Madrid Vienna Berlin Dublin Lisbon Athens Prague Moscow Tokyo Sydney Boston Chicago "
    "Toronto Cairo Geneva Milan Munich Oxford Kiev Delhi Seoul Dallas Denver Houston Hamburg Florence Venice "
    "Warsaw Brussels"
)
TRADES = _words(
    "teacher doctor lawyer painter singer writer farmer baker driver engineer nurse judge pilot soldier actor poet"
)
THINGS = _words("house car boat horse farm hotel garden piano bridge shop book ship school church hospital library")
# What is said of somebody, and the question that it answers; {a} is the answer.
FACTS = (
    ("{p} lives in {a}.", "Where does {p} live?", PLACES),
    ("{p} was born in {a}.", "Where was {p} born?", PLACES),
    ("{p} works as a {a}.", "What does {p} work as?", TRADES),
    ("Last year {p} bought a {a}.", "What did {p} buy last year?", THINGS),
    ("In {a}, {p} met an old friend.", "Where did {p} meet an old friend?", PLACES),
    ("{p} paid {a} dollars for it.", "How many dollars did {p} pay?", [str(n) for n in range(20, 1000, 7)]),
)


def questions(count: int, seed: int) -> list[dict[str, str | int]]:
    """Contexts of several facts about somebody, each with a question about one, its answer and where it is."""
    draw, made = random.Random(seed), []
    for _ in range(count):
        person = draw.choice(PEOPLE)
        said = [(fact, draw.choice(fact[2])) for fact in draw.sample(FACTS, draw.randint(3, 6))]
        context, starts = "", []
        for (sentence, _, _), answer in said:
            before, after = sentence.replace("{p}", person).split("{a}")
            context += " " * bool(context) + before
            starts.append(len(context))
            context += answer + after
        chosen = draw.randrange(len(said))
        (_, question, _), answer = said[chosen]
        asked = question.replace("{p}", person)
        made.append({"question": asked, "context": context, "answer": answer, "start": starts[chosen]})
    return made


# Of whom a report is about; and what else it says, in words that the summary must not be misled by.
NEWS = ("{p} works as a {trade}.", "In spring, {p} moved to {place}.", "Last year {p} bought a {thing}.")
BESIDE = (
    "The weather was fine on that day.",
    "{q} paid {number} dollars for an old {thing}.",
    "{q} was born in {place}.",
    "An old friend, the {trade} {q}, came from {place}.",
    "Nobody knows why {q} wanted a {thing}.",
    "Trains to {place} were late.",
)


def reports(count: int, seed: int) -> list[tuple[str, str]]:
    """(report, summary): three facts about the person whom a report names first, among sentences about others."""
    draw, made = random.Random(seed), []
    for _ in range(count):
        person, facts = draw.choice(PEOPLE), {"trade": TRADES, "place": PLACES, "thing": THINGS}
        chosen = {name: draw.choice(words) for name, words in facts.items()}
        said = [sentence.format(p=person, **chosen) for sentence in NEWS]
        draw.shuffle(said)
        for sentence in draw.sample(BESIDE, draw.randint(2, 3)):
            others = {name: draw.choice(words) for name, words in facts.items()}
            stranger = draw.choice([name for name in PEOPLE if name != person])
            about = sentence.format(q=stranger, number=draw.randrange(20, 1000, 7), **others)
            said.insert(draw.randint(1, len(said)), about)
        summary = "{p}, a {trade}, moved to {place} and bought a {thing}.".format(p=person, **chosen)
        made.append((" ".join(said), summary))
    return made
