"""How national identifiers of persons are written, what of python-stdnum checks them, and which words name them.

Guarantees: data only; `national_ids` applies it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """How one identifier is recognised.

    form: pattern of how it is written. check: module of stdnum, or _name of a function in `national_ids`. words: that
    name it, between |. plain: pattern of another way to write it, which counts after one of the words only. context:
    whether form counts after one of the words only, since such numbers are common.
    """

    title: str
    form: str
    check: str
    words: str = ""
    plain: str = ""
    context: bool = False


def _id(title: str, form: str, check: str, words: str = "", plain: str = "") -> Identifier:
    return Identifier(title=title, form=form, check=check, words=words, plain=plain)


def _in_context(title: str, form: str, check: str, words: str) -> Identifier:
    return Identifier(title=title, form=form, check=check, words=words, context=True)


IDENTIFIERS: dict[str, Identifier] = {
    "at_vnr": _in_context(
        "Austrian social security number",
        r"[0-9]{4} ?[0-9]{6}",
        "at.vnr",
        "SVNR|Sozialversicherungsnummer|Versicherungsnummer",
    ),
    "au_tfn": _in_context("Australian tax file number", r"[0-9]{3} ?[0-9]{3} ?[0-9]{2,3}", "au.tfn", "TFN|tax file"),
    "be_nn": _id(
        "Belgian national number",
        r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}",
        "be.nn",
        "rijksregister|registre national|NISS|INSZ",
        r"[0-9]{11}",
    ),
    "bg_egn": _in_context("Bulgarian EGN", r"[0-9]{10}", "bg.egn", "ЕГН|EGN"),
    "br_cnpj": _id(
        "Brazilian CNPJ", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", "br.cnpj", "CNPJ", r"[0-9]{14}"
    ),
    "br_cpf": _id("Brazilian CPF", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", "br.cpf", "CPF", r"[0-9]{9}-?[0-9]{2}"),
    "ca_sin": _in_context(
        "Canadian social insurance number",
        r"[0-9]{3}[ \-]?[0-9]{3}[ \-]?[0-9]{3}",
        "ca.sin",
        "SIN|NAS|social insurance|assurance sociale",
    ),
    "ch_ahv": _id("Swiss AHV number", r"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", "ch.ssn"),
    "cn_ric": _id("Chinese resident identity number", r"[1-9][0-9]{16}[0-9Xx]", "cn.ric"),
    "cz_rc": _id("Czech or Slovak birth number", r"[0-9]{6}/[0-9]{3,4}", "cz.rc", "rodné číslo|RČ", r"[0-9]{9,10}"),
    "de_idnr": _id(
        "German tax identification number",
        r"[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}",
        "de.idnr",
        "IdNr|Steuer-ID|Steuer-Identifikationsnummer|Steueridentifikationsnummer|Identifikationsnummer|TIN",
        r"[1-9][0-9]{10}",
    ),
    "dk_cpr": _id(
        "Danish CPR number", r"[0-3][0-9][01][0-9]{3}-[0-9]{4}", "dk.cpr", "CPR|personnummer", r"[0-3][0-9][01][0-9]{7}"
    ),
    "ee_ik": _in_context("Estonian personal code", r"[1-8][0-9]{10}", "ee.ik", "isikukood"),
    "es_dni": _id("Spanish DNI", r"[0-9]{8}[ \-]?[A-HJ-NP-TV-Z]", "es.dni"),
    "es_nie": _id("Spanish NIE", r"[XYZ][ \-]?[0-9]{7}[ \-]?[A-HJ-NP-TV-Z]", "es.nie"),
    "fi_hetu": _id(
        "Finnish personal identity code", r"[0-3][0-9][01][0-9]{3}[+\-A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]", "fi.hetu"
    ),
    "fr_nir": _id(
        "French NIR", r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", "fr.nir"
    ),
    "gb_nhs": _in_context("British NHS number", r"[0-9]{3}[ \-]?[0-9]{3}[ \-]?[0-9]{4}", "gb.nhs", "NHS"),
    "gb_nino": _id(
        "British National Insurance number",
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        "_nino",
    ),
    "hr_oib": _in_context("Croatian OIB", r"[0-9]{11}", "hr.oib", "OIB"),
    "ie_pps": _in_context("Irish PPS number", r"[0-9]{7}[A-W][A-IW]?", "ie.pps", "PPS|PPSN"),
    "il_id": _in_context("Israeli identity number", r"[0-9]{8}-?[0-9]", "il.idnr", "ת.ז|תעודת זהות|Teudat"),
    "in_aadhaar": _in_context(
        "Indian Aadhaar", r"[2-9][0-9]{3}[ \-]?[0-9]{4}[ \-]?[0-9]{4}", "in_.aadhaar", "Aadhaar|Aadhar|UIDAI|आधार"
    ),
    "in_pan": _id("Indian PAN", r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", "in_.pan"),
    "it_codice_fiscale": _id(
        "Italian codice fiscale",
        r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPR-T][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
        "it.codicefiscale",
    ),
    "jp_my_number": _in_context(
        "Japanese My Number",
        r"[0-9]{4}[ \-]?[0-9]{4}[ \-]?[0-9]{4}",
        "jp.in_",
        "マイナンバー|個人番号|My Number|Individual Number",
    ),
    "kr_phone": _id(
        "Korean telephone number",
        r"0(?:2|[3-6][0-9]|70|1[016-9]|50[2-8])(?:\)|[ .\-]|\) )[0-9]{3,4}[ .\-][0-9]{4}",
        "_any",
    ),
    "kr_rrn": _id(
        "Korean resident registration number",
        r"[0-9]{2}[01][0-9][0-3][0-9]-[0-9]{7}",
        "_rrn",
        "주민등록번호|주민번호|외국인등록번호|RRN",
        r"[0-9]{2}[01][0-9][0-3][0-9][ \-]?[0-9]{7}",
    ),
    "lt_asmens": _in_context("Lithuanian personal code", r"[1-6][0-9]{10}", "lt.asmens", "asmens kodas"),
    "lv_pk": _id("Latvian personal code", r"[0-3][0-9][01][0-9]{3}-[012][0-9]{4}", "lv.pvn"),
    "mx_curp": _id("Mexican CURP", r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", "mx.curp"),
    "my_nric": _id(
        "Malaysian NRIC", r"[0-9]{2}[01][0-9][0-3][0-9]-[0-9]{2}-[0-9]{4}", "my.nric", "NRIC|MyKad", r"[0-9]{12}"
    ),
    "nl_bsn": _in_context(
        "Dutch BSN",
        r"[0-9]{3}[.\- ]?[0-9]{3}[.\- ]?[0-9]{3}|[0-9]{4}\.?[0-9]{2}\.?[0-9]{3}",
        "nl.bsn",
        "BSN|burgerservicenummer|sofinummer",
    ),
    "no_fnr": _in_context(
        "Norwegian national identity number",
        r"[0-7][0-9][0-9]{4} ?[0-9]{5}",
        "no.fodselsnummer",
        "fødselsnummer|fødselsnr|personnummer|D-nummer",
    ),
    "pk_cnic": _id("Pakistani CNIC", r"[1-7][0-9]{4}-[0-9]{7}-[0-9]", "pk.cnic"),
    "pl_pesel": _in_context("Polish PESEL", r"[0-9]{11}", "pl.pesel", "PESEL"),
    "pt_nif": _in_context("Portuguese NIF", r"[1-9][0-9]{2} ?[0-9]{3} ?[0-9]{3}", "pt.nif", "NIF|contribuinte"),
    "ro_cnp": _in_context("Romanian CNP", r"[1-9][0-9]{12}", "ro.cnp", "CNP|cod numeric personal"),
    "se_personnummer": _id(
        "Swedish personal identity number",
        r"(?:19|20)?[0-9]{2}[01][0-9]{3}[\-+][0-9]{4}",
        "se.personnummer",
        "personnummer|personnr|samordningsnummer",
        r"(?:(?:19|20)[0-9]{2}|[0-9]{2})[01][0-9]{3}[0-9]{4}",
    ),
    "th_pin": _id(
        "Thai identity number",
        r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]",
        "th.pin",
        "เลขประจำตัวประชาชน|บัตรประชาชน",
        r"[1-8][0-9]{12}",
    ),
    "tr_tckn": _in_context(
        "Turkish identity number", r"[1-9][0-9]{10}", "tr.tckimlik", "TC Kimlik|T.C. Kimlik|TCKN|kimlik no"
    ),
    "us_itin": _id("US individual taxpayer number", r"9[0-9]{2}-[0-9]{2}-[0-9]{4}", "us.itin", "ITIN", r"9[0-9]{8}"),
    "us_ssn": _id(
        "US social security number",
        r"[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}",
        "us.ssn",
        "SSN|social security|soc. sec.",
        r"[0-8][0-9]{2}[ .]?[0-9]{2}[ .]?[0-9]{4}",
    ),
    "za_id": _in_context(
        "South African identity number",
        r"[0-9]{6} ?[0-9]{4} ?[0-9]{2} ?[0-9]",
        "za.idnr",
        "ID number|identity number|ID no",
    ),
}
