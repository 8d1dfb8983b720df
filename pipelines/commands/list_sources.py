"""Lists and benchmark suites that `winnow lists fetch` knows: where they are, their licences and columns.

Nothing of their content is here: lists are pinned by their SHA-256, suites by repository and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

BAD_WORDS_AT = (
    "https://raw.githubusercontent.com/LDNOOBW/List-of-Dirty-Naughty-Obscene-and-Otherwise-Bad-Words/"
    "5faf2ba42d7b1c0977169ec3611df25a3c08eb13/"
)
_BAD_WORDS = {  # SHA-256 by language
    "ar": "23dbd9c55257bf2a4965f46664dc7eac04b61ff4eb3571e41f7e964c7c3ed96b",
    "cs": "90706df86709bade1ca39cf9f9d9836409c674fc3bffcb7525bdd20e59b596bc",
    "da": "ddb46ab67e955d1a5f49c89c18497d23c3d8d6d2522f3740a5d7583f90e434c6",
    "de": "ebe44d7772897390e27f7bec412fdcdf0efc294e4db157f8487c4cd8d4fabd55",
    "en": "af851ecef1d5f212caba17339b12ac39cc2fef7d78c74876f67237644fcee8bd",
    "eo": "0374d76be1dbc77c61362d6e51305e1e4c546b7f734eb96e0bdbad7fd2a6ace1",
    "es": "073334261cc2e7c08339faefd2f19f9623e8240a0ac18fe2a26c368b897496ce",
    "fa": "85828629b90fd18a3f6f6efb1934c1294103c33d1c28c0653970adfa179169e9",
    "fi": "3e0b35b2533ba22fb526d882bea250ddfad907ee7548aacbe15db17e21034c62",
    "fil": "fb4b43691b1249fee2eca1e66795daedda8e7366d42abcde6553dce611d23d99",
    "fr": "79763a705e08256b393952852bb63aa903f4485e0ef02f70735f5e50efff213c",
    "hi": "83636e9b7a5260451e09e9e471f81dad9f082d107a82da77047e57d7856ed0cc",
    "hu": "a6943a971496f16e9a9d59ba6fde146d229699600e9636828d8d34ed9160aff5",
    "it": "d413f41018d58aa79d2c4809d0161f29ffd5652c4dc34c5b7b9ade680ee5599a",
    "ja": "f83c4d0843ea6474c17bf171edd72b616b3af403f8613f2cde1bd841faf6f316",
    "kab": "df7be2ce4a0c80ee717cd7134c90645a8a0f0c0c458a61f927934dbd50eac96d",
    "ko": "0dd4b74ffea6e3bb35d658e6d8262b53ee99281eaa48ecb515a2065bfcc7f69d",
    "nl": "8298ba0cdc3ca9a1989c349b8ad0148e4504c2804f2f2fb6c2f52bfb39c5ae71",
    "no": "e55b46bcec1ea288256924523a997d8d99e124c9aa3e61cbbbfaeca294f745b4",
    "pl": "98cf824e3692255645c5a72d5913f26fd4f20930f725683b4c96bb312ca5d9b3",
    "pt": "05ef524b0bb7f83f87257f6ec4dabf70e16b8bb6930f769fb93deaf608ff196d",
    "ru": "2598adabd2b761733d72a68d8ee4fcc1d2c38f2f85b6ff489985c6ce1d93bf75",
    "sv": "77f3f99a89bd3b2bde6a654741bacfcb3acca3f5c804af4d8d3fea11e09ea562",
    "th": "835036d87a3a67738e388cd6de92e3c995c186a1427b4e830fe7b85483c257e7",
    "tlh": "3c19004e338c0d91d19ba419185279145848b75b2327aa0e3a752c604ad9f59d",
    "tr": "6c7ae03baee0f3fdc22eed169030567669005dad9a1923e0b571c4bd4f2f2ab5",
    "zh": "a1d9aa037c8b039ef3b40148b3364ce2ca62ce4a955b7082a16ad99f6cbd1bc0",
}

_SUITES = {  # repository, files, columns, licence
    "gsm8k": ("openai/gsm8k", "main/test-*.parquet", "question answer", "MIT"),
    "mmlu": ("cais/mmlu", "all/test-*.parquet", "question choices", "MIT"),
    "hellaswag": ("Rowan/hellaswag", "data/validation-*.parquet data/test-*.parquet", "ctx endings", "MIT"),
    "arc-easy": ("allenai/ai2_arc", "ARC-Easy/test-*.parquet", "question choices.text", "CC BY-SA 4.0"),
    "arc-challenge": ("allenai/ai2_arc", "ARC-Challenge/test-*.parquet", "question choices.text", "CC BY-SA 4.0"),
    "openbookqa": ("allenai/openbookqa", "main/test-*.parquet", "question_stem choices.text", "unknown"),
    "winogrande": ("allenai/winogrande", "winogrande_xl/validation-*.parquet", "sentence option1 option2", "CC BY"),
    "boolq": ("google/boolq", "data/validation-*.parquet", "question passage", "CC BY-SA 3.0"),
    "truthfulqa": ("truthfulqa/truthful_qa", "generation/validation-*.parquet", "question best_answer", "Apache-2.0"),
    "humaneval": ("openai/openai_humaneval", "openai_humaneval/test-*.parquet", "prompt canonical_solution", "MIT"),
    "mbpp": ("google-research-datasets/mbpp", "full/test-*.parquet", "text code", "CC BY 4.0"),
}


@dataclass(frozen=True, kw_only=True)
class PublishedList:
    """A list: behind a URL, or a member of an archive inside a Python package. use: the recipe entry it is for."""

    name: str
    sha256: str
    licence: str
    source: str
    use: str
    url: str = ""
    requirement: str = ""
    archive: str = ""  # path inside the package
    member: str = ""  # path inside the archive


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A benchmark suite on the Hub. files: globs of the split that is tested on; columns: what an item's text is."""

    name: str
    repository: str
    files: tuple[str, ...]
    columns: tuple[str, ...]
    licence: str


def _bad_words(code: str, sha256: str) -> PublishedList:
    return PublishedList(
        name=f"bad-words-{code}",
        url=BAD_WORDS_AT + code,
        sha256=sha256,
        licence="CC BY 4.0",
        source="LDNOOBW, the list of C4 and mC4 (Raffel et al. 2020, 2.2)",
        use="bad_words: {words: [PATH]}",
    )


def _block_list(member: str, sha256: str, use: str) -> PublishedList:
    return PublishedList(
        name=f"blocked-{member}",
        requirement="datatrove==0.10.1",
        archive="datatrove/assets/url_filterblacklistsv0_3_0.tar.gz",
        member=member,
        sha256=sha256,
        licence="Apache-2.0 (the package); after the UT1 lists of Université Toulouse Capitole, CC BY-SA 4.0",
        source="the adult and malware lists of FineWeb's URL filter",
        use=use,
    )


LISTS = {
    entry.name: entry
    for entry in (
        *(_bad_words(code, sha256) for code, sha256 in _BAD_WORDS.items()),
        _block_list(
            "domains",
            "774cc3b6567998658c9705376fb6f3c439fe425a4643324a6396085d55c037ca",
            "url_rules: {domains: [PATH]}",
        ),
        _block_list(
            "urls", "e3c2fd3df042dfc5d0e53a0eb56d29cf0f3fdc3fc5b8253361b4f34deaee8bb1", "url_rules: {urls: [PATH]}"
        ),
    )
}

SUITES = {
    name: Suite(
        name=name,
        repository=repository,
        files=tuple(files.split()),
        columns=tuple(columns.split()),
        licence=licence,
    )
    for name, (repository, files, columns, licence) in _SUITES.items()
}
