"""Tokenizers without an engine, beside transformers' own."""

import copy
import itertools
import json
import pickle
import random

import pytest
import transformers

import enfold
from enfold.base.errors import ArgumentError, NotBuiltError, TokenizerError
from enfold.tokenizers.families.blenderbot_small import merged
from tests.tokenizers.families.same import TEXTS, same_attributes, same_calls
from tests.tokenizers.folders import corpus, write_json
from tests.tokenizers.formats import spm

CTC = {
    token: index for index, token in enumerate([*["<pad>", "<s>", "</s>", "<unk>", "|"], *"ABCDEFGHILMNORSTUWY'", "TH"])
}


def ctc_folder(folder, vocab=CTC):
    write_json(folder / "vocab.json", vocab)
    return folder


def blenderbot_folder(folder):
    """Merges of whole words, and every token that they can make."""
    chance, merges = random.Random(2), []
    for word in [
        "hello",
        "world",
        "don",
        "know",
        "it's",
        "and",
        "two",
        "spaces",
        "add",
        "return",
        "naïve",
        "first",
        "text",
    ]:
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            place = chance.randrange(len(symbols) - 1)
            merges.append((symbols[place], symbols[place + 1]))
            symbols[place : place + 2] = ["".join(symbols[place : place + 2])]
    merges = list(dict.fromkeys(merges))
    parts = [part for left, right in merges for part in (left, right, left + right)]
    tokens = [part[:-4] if part.endswith("</w>") else f"{part}@@" for part in parts]
    control = ["__null__", "__start__", "__end__", "__unk__", "__newln__"]
    write_json(folder / "vocab.json", {t: i for i, t in enumerate(dict.fromkeys([*control, *".,!?()'", *tokens]))})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    return folder


def marian_folder(folder, separate=False):
    source = spm.write(folder, "source.spm", spm.train("unigram"))
    target = spm.write(folder, "target.spm", spm.train("folded"))
    pieces = [spm.proto(path.read_bytes()).pieces for path in (source, target)]
    names = [[piece.piece for piece in side if piece.piece not in ("<s>", "</s>", "<unk>")] for side in pieces]
    sides = names if separate else [[*names[0], *names[1]]]
    for name, side in zip(("vocab.json", "target_vocab.json"), sides, strict=False):
        tokens = dict.fromkeys(["</s>", "<unk>", ">>fra<<", ">>deu<<", *side[: -len(side) // 9], "<pad>"])
        write_json(folder / name, {token: index for index, token in enumerate(tokens)})
    config = {"separate_vocabs": separate, "source_lang": "eng", "target_lang": "fra"}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "MarianTokenizer", **config})
    return folder


def m2m_folder(folder):
    model = spm.write(folder, "sentencepiece.bpe.model", spm.train("bpe"))
    pieces = [piece.piece for piece in spm.proto(model.read_bytes()).pieces][3:-20]
    write_json(folder / "vocab.json", {t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces])})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "M2M100Tokenizer", "src_lang": "de"})
    return folder


def speech_folder(folder):
    import io

    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in corpus() if line.strip()][:600]),
        model_writer=made,
        model_type="char",
        vocab_size=70,
        character_coverage=0.99,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    spm.write(folder, "spm_char.model", made.getvalue())
    return folder


def letters_folder(folder):
    write_json(folder / "vocab.json", {token: i for i, token in enumerate(["[GO]", "[s]", *"abcdeHLlo0123 ,.!"])})
    return folder


def proteins_folder(folder):
    tokens = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]
    (folder / "vocab.txt").write_text("\n".join(tokens))
    return folder


def ctrl_folder(folder):
    """Blenderbot's merges; tokens without their marks, in part."""
    folder = blenderbot_folder(folder)
    tokens = list(json.loads((folder / "vocab.json").read_text()))
    write_json(folder / "vocab.json", {t: i for i, t in enumerate(dict.fromkeys(["<unk>", *tokens, *"abcdefgh"]))})
    return folder


def words_folder(folder):
    letters = "abcdefghijklmnopqrstuvwxyz0123456789é中"
    words = ["hello", "world", "the", "don", "know", "two", "naïve", "naive", "first", "##ing", "##s", "##ed"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[X_SEP]"]
    tokens = dict.fromkeys([*special, *words, *",.!?'()-", *letters, *letters.upper(), *(f"##{c}" for c in letters)])
    (folder / "prophetnet.tokenizer").write_text("".join(f"{token}\n" for token in tokens))
    return folder


def pieces_folder(folder):
    spm.write(folder, "spiece.model", spm.train("unigram"))
    return folder


CASES = {
    "byt5": ("ByT5Tokenizer", lambda folder: folder, {}),
    "byt5-few": ("ByT5Tokenizer", lambda folder: folder, {"extra_ids": 3, "model_max_length": 20}),
    "byt5-none": ("ByT5Tokenizer", lambda folder: folder, {"extra_ids": 0}),
    "canine": ("CanineTokenizer", lambda folder: folder, {}),
    "ctc": ("Wav2Vec2CTCTokenizer", ctc_folder, {}),
    "ctc-lower": ("Wav2Vec2CTCTokenizer", ctc_folder, {"do_lower_case": True, "replace_word_delimiter_char": "_"}),
    "blenderbot-small": ("BlenderbotSmallTokenizer", blenderbot_folder, {"truncation_side": "left"}),
    "marian": ("MarianTokenizer", marian_folder, {}),
    "marian-two": ("MarianTokenizer", lambda folder: marian_folder(folder, True), {}),
    "m2m100": ("M2M100Tokenizer", m2m_folder, {}),
    "m2m100-wmt": ("M2M100Tokenizer", m2m_folder, {"language_codes": "wmt21", "tgt_lang": "zh"}),
    "speecht5": ("SpeechT5Tokenizer", speech_folder, {}),
    "perceiver": ("PerceiverTokenizer", lambda folder: folder, {}),
    "mgpstr": ("MgpstrTokenizer", letters_folder, {}),
    "esm": ("EsmTokenizer", proteins_folder, {}),
    "ctrl": ("CTRLTokenizer", ctrl_folder, {"pad_token": "<unk>"}),
    "prophetnet": ("ProphetNetTokenizer", words_folder, {}),
    "prophetnet-cased": ("ProphetNetTokenizer", words_folder, {"do_lower_case": False, "never_split": ["don't"]}),
    "prophetnet-plain": ("ProphetNetTokenizer", words_folder, {"do_basic_tokenize": False}),
    "bert-generation": ("BertGenerationTokenizer", pieces_folder, {}),
    "siglip": ("SiglipTokenizer", pieces_folder, {}),
    "siglip-cased": ("SiglipTokenizer", pieces_folder, {"do_lower_case": False}),
}


def loaded(kind, folder):
    name, make, options = CASES[kind]
    folder.mkdir(exist_ok=True)
    made = make(folder)
    config = folder / "tokenizer_config.json"
    known = json.loads(config.read_text()) if config.exists() else {}
    write_json(config, {"tokenizer_class": name, **known, **options})
    write_json(folder / "config.json", {"model_type": "unheard"})
    theirs = getattr(transformers, name).from_pretrained(made)
    return enfold.AutoTokenizer.from_pretrained(made), theirs


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    return loaded(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def small_pair(pair):
    """All but CANINE, whose vocabulary of every code point the reference copies at every turn."""
    if len(pair[0]) > 1_000_000:
        pytest.skip("proved by test_canine_is_saved")
    return pair


def test_calls(pair):
    same_calls(*pair)


def test_attributes(small_pair):
    same_attributes(*small_pair)


def test_more_of_calls(pair):
    ours, theirs = pair
    text, second = TEXTS[2], "a second text"
    ids = theirs(text, add_special_tokens=False)["input_ids"]
    for args, options in [
        ((text, second), {"truncation": "only_second", "max_length": 50}),
        ((text, second), {"truncation": True, "max_length": 12, "return_special_tokens_mask": True}),
        ((text,), {"truncation": "only_first", "max_length": 9, "return_overflowing_tokens": True, "stride": 2}),
        ((text,), {"padding": "max_length", "max_length": 90, "return_length": True, "pad_to_multiple_of": 8}),
        ((text.split(),), {"is_split_into_words": True}),
        (([text.split(), second.split()],), {"is_split_into_words": True, "padding": True}),
        ((ids,), {}),
        ((theirs.convert_ids_to_tokens(ids[:5]),), {"is_split_into_words": False}),
    ]:
        if args[0] is ids or options.get("max_length") != 50 or len(theirs(*args)["input_ids"]) > 50:
            assert dict(ours(*args, **options)) == dict(theirs(*args, **options)), (args, options)
    for side in ("left", "right"):
        ours.truncation_side = theirs.truncation_side = side
        found = ours(text, second, truncation=True, max_length=15)
        assert dict(found) == dict(theirs(text, second, truncation=True, max_length=15))
    tensors = ours([text, second], padding=True, return_tensors="pt")["input_ids"]
    assert tensors.tolist() == theirs([text, second], padding=True)["input_ids"]
    assert ours(text, return_tensors="np")["input_ids"].shape == (1, len(theirs(text)["input_ids"]))
    assert ours.batch_decode(tensors) == theirs.batch_decode(tensors)
    for already, asked in ((True, (theirs(text)["input_ids"],)), (False, (ids, ids[:3]))):
        mask = ours.get_special_tokens_mask(*asked, already_has_special_tokens=already)
        assert mask == theirs.get_special_tokens_mask(*asked, already_has_special_tokens=already)
    with pytest.raises(ArgumentError, match="needs a tokenizer with an engine"):
        ours(text, return_offsets_mapping=True)


def test_added_tokens(small_pair):
    ours, theirs = (copy.deepcopy(one) for one in small_pair)
    for cls, one in ((enfold.AddedToken, ours), (transformers.AddedToken, theirs)):
        assert one.add_tokens(["<new>", cls("<left>", lstrip=True), cls("<word>", single_word=True)]) == 3
        assert one.add_special_tokens({"sep_token": "<sep>", "extra_special_tokens": ["<x>"]}) == 2
    same_attributes(ours, theirs)
    text = "a <new>b  <left>c a<word> <word> <word>b <sep><x>"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours.tokenize(text, split_special_tokens=True) == theirs.tokenize(text, split_special_tokens=True)
    ids = theirs(text)["input_ids"]
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


def test_saved_and_loaded_by_both(small_pair, tmp_path):
    ours, theirs = small_pair
    for number, (one, library) in enumerate([(ours, transformers), (theirs, enfold), (ours, enfold)]):
        one.save_pretrained(tmp_path / str(number))
        again = getattr(library, type(ours).__name__).from_pretrained(tmp_path / str(number))
        assert again.get_vocab() == theirs.get_vocab()
        assert again.all_special_tokens == theirs.all_special_tokens
        for text in TEXTS:
            assert again(text)["input_ids"] == theirs(text)["input_ids"]
    again = pickle.loads(pickle.dumps(ours))
    assert [again(text)["input_ids"] for text in TEXTS] == [ours(text)["input_ids"] for text in TEXTS]


def test_canine_is_saved(tmp_path):
    made = enfold.CanineTokenizer(extra_special_tokens=["<x>"])
    made.save_pretrained(tmp_path)
    ours, theirs = (library.CanineTokenizer.from_pretrained(tmp_path) for library in (enfold, transformers))
    assert ours("a<x>b")["input_ids"] == theirs("a<x>b")["input_ids"] == made("a<x>b")["input_ids"]
    assert (len(ours), ours.vocab_size, ours.all_special_ids) == (
        len(theirs),
        theirs.vocab_size,
        theirs.all_special_ids,
    )


def test_frames_of_characters_and_words(tmp_path):
    ours, theirs = loaded("ctc", tmp_path)
    chance = random.Random(1)
    for _ in range(150):
        ids = [chance.choice([0, 0, 4, 5, 6, 7, 8, 25, 3, 1, 99]) for _ in range(chance.randint(0, 25))]
        for options in (
            {"group_tokens": False},
            {"spaces_between_special_tokens": True},
            {"output_word_offsets": True},
            {"output_char_offsets": True, "output_word_offsets": True},
            {"skip_special_tokens": True},
        ):
            expected, found = theirs.decode(ids, **options), ours.decode(ids, **options)
            if not isinstance(expected, str):
                expected = {key: value for key, value in expected.items() if value is not None}
                found = {key: found[key] for key in found.keys()}  # noqa: SIM118 (no dictionary)
            assert found == expected, (ids, options)
    rows = [[5, 5, 0, 5, 4, 6], [7]]
    expected = theirs.batch_decode(rows, output_word_offsets=True)
    found = ours.batch_decode(rows, output_word_offsets=True)
    assert (found.text, found["word_offsets"]) == (expected.text, expected.word_offsets)
    with pytest.raises(KeyError):
        found["char_offsets"]


def test_a_vocabulary_for_each_language(tmp_path):
    nested = {
        "eng": CTC,
        "fra": {**{token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", "É", "Q", "<x>"])}},
    }
    folder = ctc_folder(tmp_path, nested)
    ours = enfold.Wav2Vec2CTCTokenizer.from_pretrained(folder, target_lang="eng")
    theirs = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder, target_lang="eng")
    for language in ("eng", "fra"):
        for one in (ours, theirs):
            one.set_target_lang(language)
        assert ours.get_vocab() == theirs.get_vocab()
        assert ours("QÉ TH<x>")["input_ids"] == theirs("QÉ TH<x>")["input_ids"]
    with pytest.raises(TokenizerError, match="target_lang='deu'"):
        ours.set_target_lang("deu")
    with pytest.raises(ArgumentError, match="choose one with target_lang"):
        enfold.Wav2Vec2CTCTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["marian", "marian-two", "m2m100"])
def test_texts_to_be_learned(kind, tmp_path):
    ours, theirs = loaded(kind, tmp_path)
    if kind == "m2m100":
        ours.tgt_lang = theirs.tgt_lang = "fr"
    for options in ({}, {"max_length": 9, "truncation": True}, {"padding": True}):
        found = ours(TEXTS, text_target=TEXTS[::-1], **options)
        assert dict(found) == dict(theirs(TEXTS, text_target=TEXTS[::-1], **options))
    assert dict(ours(text_target=TEXTS)) == dict(theirs(text_target=TEXTS))
    text = ">>fra<<Hello, world" if kind != "m2m100" else "Hello __fr__ world"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    labels = theirs(text_target=TEXTS)["input_ids"]
    for row in labels:
        assert ours.decode(row, skip_special_tokens=True) == theirs.decode(row, skip_special_tokens=True)
        if kind != "m2m100":
            for source in (True, False):
                asked = {"use_source_tokenizer": source}
                assert ours.decode(row, **asked) == theirs.decode(row, **asked)


def test_languages_of_m2m100(tmp_path):
    ours, theirs = loaded("m2m100", tmp_path)
    for one in (ours, theirs):
        one.src_lang = "fr"
    assert ours("Hello")["input_ids"] == theirs("Hello")["input_ids"]
    assert ours.get_lang_id("zu") == theirs.get_lang_id("zu")
    found = ours._build_translation_inputs("Hello", src_lang="de", tgt_lang="en")
    assert dict(found) == dict(theirs._build_translation_inputs("Hello", src_lang="de", tgt_lang="en"))
    with pytest.raises(ArgumentError, match="No language 'xx'"):
        ours.src_lang = "xx"
    with pytest.raises(ArgumentError, match="tgt_lang"):
        ours("a", text_target="b")


def test_what_is_missing_is_said(tmp_path):
    for name, file in (("MarianTokenizer", "source.spm"), ("Wav2Vec2CTCTokenizer", "vocab.json")):
        with pytest.raises(TokenizerError, match=file):
            getattr(enfold, name).from_pretrained(tmp_path)
    with pytest.raises(NotBuiltError, match="normalize=True"):
        enfold.SpeechT5Tokenizer(speech_folder(tmp_path) / "spm_char.model", normalize=True)
    with pytest.raises(ArgumentError, match="extra_ids=125"):
        enfold.ByT5Tokenizer(additional_special_tokens=["<extra_id_0>"])
    with pytest.raises(ArgumentError, match="did you mean 'extra_ids'"):
        enfold.ByT5Tokenizer.from_pretrained(tmp_path, extra_id=3)


def test_long_words_take_no_longer_than_long():
    chance = random.Random(3)
    symbols = [chance.choice("ab") for _ in range(30_000)]
    ranks = {("a", "b"): 0, ("ab", "ab"): 1, ("b", "a"): 2, ("abab", "a"): 3, ("a", "a"): 4, ("aa", "a"): 5}

    def naive(word):
        while pairs := [pair for pair in itertools.pairwise(word) if pair in ranks]:
            best, place = min(pairs, key=ranks.get), 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == best:
                    word[place : place + 2] = [best[0] + best[1]]
                place += 1
        return word

    assert "".join(merged(list(symbols), ranks)) == "".join(symbols)
    for start in range(0, 3000, 60):
        assert merged(symbols[start : start + 60], ranks) == naive(symbols[start : start + 60])
