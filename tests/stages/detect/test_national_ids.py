"""National identifiers: each is found in its form, checked, and left alone where its number means nothing alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from cluster.errors import RecipeError
from stages.core import edits
from stages.detect.identifier_forms import IDENTIFIERS
from stages.detect.national_ids import find
from stages.pii import Pii

# kind, a right number as it is written, one that is wrong
NUMBERS = [
    ("at_vnr", "1237 010180", "1238 010180"),
    ("au_tfn", "123 456 782", "123 456 783"),
    ("be_nn", "85.07.30-033.28", "85.07.30-033.29"),
    ("bg_egn", "7523169263", "7523169264"),
    ("br_cnpj", "16.727.230/0001-97", "16.727.230/0001-98"),
    ("br_cpf", "390.533.447-05", "390.533.447-06"),
    ("ca_sin", "123-456-782", "123-456-783"),
    ("ch_ahv", "756.9217.0769.85", "756.9217.0769.86"),
    ("cn_ric", "360426199101010071", "360426199101010072"),
    ("cz_rc", "710319/2745", "710319/2746"),
    ("de_idnr", "36 574 261 809", "36 574 261 808"),
    ("dk_cpr", "211062-5629", "311162-5629"),
    ("ee_ik", "36805280109", "36805280108"),
    ("es_dni", "54362315K", "54362315A"),
    ("es_nie", "X-2482300W", "X-2482300A"),
    ("fi_hetu", "131052-308T", "131052-308U"),
    ("fr_nir", "2 95 10 99 126 111 93", "2 95 10 99 126 111 94"),
    ("gb_nhs", "943-476-5870", "943-476-5871"),
    ("gb_nino", "AB 12 34 56 C", "GB 12 34 56 C"),
    ("hr_oib", "33392005961", "33392005962"),
    ("ie_pps", "6433435F", "6433435E"),
    ("il_id", "03933742-3", "03933742-4"),
    ("in_aadhaar", "2341 2341 2346", "2341 2341 2347"),
    ("in_pan", "ACUPA7085R", "ACUXA7085R"),
    ("it_codice_fiscale", "RCCMNL83S18D969H", "RCCMNL83S18D969I"),
    ("jp_my_number", "6214 9832 0257", "6214 9832 0258"),
    ("kr_phone", "031-123-4567", "0311-123-4567"),
    ("kr_rrn", "971013-9019902", "971013-9019903"),
    ("lt_asmens", "33309240064", "33309240065"),
    ("lv_pk", "161175-19997", "161175-19998"),
    ("mx_curp", "BOXW310820HNERXN09", "BOXW310820HNERXN08"),
    ("my_nric", "770305-02-1234", "771305-02-1234"),
    ("nl_bsn", "1112.22.333", "1112.52.333"),
    ("no_fnr", "151086 95088", "151086 95077"),
    ("pk_cnic", "34201-0891231-8", "04201-0891231-8"),
    ("pl_pesel", "44051401359", "44051401358"),
    ("pt_nif", "501964843", "501964842"),
    ("ro_cnp", "1630615123457", "1630615123458"),
    ("se_personnummer", "880320-0016", "880320-0018"),
    ("th_pin", "1-7841-00051-13-3", "1-7841-00051-13-2"),
    ("tr_tckn", "17291716060", "17291716050"),
    ("us_itin", "912-90-3456", "912-10-3456"),
    ("us_ssn", "536-90-4399", "666-90-4399"),
    ("za_id", "7503305044089", "7503305044088"),
]


def spans(text: str, kind: str) -> list[str]:
    data = text.encode()
    return [data[a:b].decode() for a, b, found in find(data, [kind]) if found == kind]


def test_every_identifier_is_tried() -> None:
    assert [kind for kind, _, _ in NUMBERS] == list(IDENTIFIERS)


@pytest.mark.parametrize(("kind", "right", "wrong"), NUMBERS)
def test_a_right_number_is_found_and_a_wrong_one_is_not(kind: str, right: str, wrong: str) -> None:
    known = IDENTIFIERS[kind]
    for word in known.words.split("|"):
        for text in ("{}: {}", "é {} {}.", "({}={})", "{}\n{}"):
            assert spans(text.format(word, right), kind) == [right]
            assert spans(text.format(word, wrong), kind) == []
    assert spans(f"abc {right}, d", kind) == ([] if known.context else [right])
    assert spans(f"x{right}", kind) == spans(f"{right}7", kind) == spans(f"v/{right}", kind) == []


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("SSN 536904399", "us_ssn", ["536904399"]),
        ("ssn: 536 90 4399", "us_ssn", ["536 90 4399"]),
        ("order 536904399", "us_ssn", []),
        ("using 123-456-782", "ca_sin", []),
        ("sin 123-456-782", "ca_sin", []),
        ("주민등록번호는 971013-9019902입니다", "kr_rrn", ["971013-9019902"]),
        ("주민등록번호 9710139019902", "kr_rrn", ["9710139019902"]),
        ("9710139019902", "kr_rrn", []),
        ("211231-3123456", "kr_rrn", ["211231-3123456"]),  # born when check digits were no longer given out
        ("전화 02-123-4567", "kr_phone", ["02-123-4567"]),
        ("051) 123-4567", "kr_phone", ["051) 123-4567"]),
        ("010-1234-5678", "kr_phone", ["010-1234-5678"]),
        ("2010-1234-5678", "kr_phone", []),
        ("CPF 39053344705", "br_cpf", ["39053344705"]),
        ("39053344705", "br_cpf", []),
        ("personnummer 19880320-0016", "se_personnummer", ["19880320-0016"]),
        ("PESEL pacjenta to 44051401359", "pl_pesel", ["44051401359"]),
        ("2 99 10 99 126 111 93", "fr_nir", []),
        ("1 97 11 2B 123 456 66", "fr_nir", spans("1 97 11 2B 123 456 66", "fr_nir")),
    ],
)
def test_plain_numbers_need_a_word(text: str, kind: str, found: list[str]) -> None:
    assert spans(text, kind) == found


def rewritten(stage: Pii, texts: list[str]) -> list[str]:
    column = pa.array(texts, pa.large_string())
    return list(edits.apply(column, edits.merge([stage.edits(stage.annotate(pa.table({"text": column})))])).to_pylist())


def test_nothing_is_looked_for_unless_named() -> None:
    text = ["AB 12 34 56 C, ACUPA7085R, SSN 536-90-4399"]
    assert rewritten(Pii(), text) == text
    assert rewritten(Pii(national_ids=("gb_nino", "us_ssn")), text) == ["<GB_NINO>, ACUPA7085R, SSN <US_SSN>"]
    assert rewritten(Pii(national_ids=("in_pan",), national_id="drop"), text) == ["AB 12 34 56 C, , SSN 536-90-4399"]
    assert rewritten(Pii(national_ids=("in_pan",), national_id="keep"), text) == text
    own = Pii(national_ids=("in_pan",), replacements=("in_pan=PAN",))
    assert rewritten(own, text) == ["AB 12 34 56 C, PAN, SSN 536-90-4399"]


def test_one_number_written_in_two_ways_has_one_hash() -> None:
    one, two = rewritten(Pii(national_ids=("us_ssn",), national_id="hash"), ["SSN 536-90-4399", "SSN 536904399"])
    assert one == two
    assert one.startswith("SSN <US_SSN-")


def test_identifiers_hold_before_other_kinds_and_patterns_before_them() -> None:
    text = ["call 971013-9019902 or id AB-971013-9019902"]
    stage = Pii(national_ids=("kr_rrn",), patterns={"member": "AB-[0-9-]+"})
    assert rewritten(stage, text) == ["call <KR_RRN> or id <MEMBER>"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"national_ids": ("us_sn",)}, "us_ssn"),
        ({"patterns": {"a": "x(y"}}, "at position 1"),
        ({"patterns": {"a": "xy)z"}}, "at position 2"),
        ({"patterns": {"a": "abc(?<=x)y"}}, "at position 3"),
        ({"patterns": {"a": r"(x)\1"}}, "at position 3"),
        ({"patterns": {"a": "x*"}}, "no characters"),
        ({"patterns": {"a": "[z-a]"}}, "at position 1"),
        ({"patterns": {"email": "x"}}, "no other kind"),
        ({"patterns": {"A b": "x"}}, "no other kind"),
        ({"patterns": ("x",)}, "NAME=REGEX"),
        ({"patterns": ("a=x", "a=y")}, "no other kind"),
        ({"patterns": {"us_ssn": "x"}}, "no other kind"),
        ({"patterns": {"a": "x"}, "detector": "presidio"}, "builtin"),
        ({"national_ids": ("us_ssn",), "detector": "presidio"}, "builtin"),
    ],
)
def test_a_wrong_parameter_is_refused_and_says_where(values: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Pii(**values)
