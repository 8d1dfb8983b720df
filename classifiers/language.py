"""Language identification with any fastText model whose labels are language codes (lid.176, GlotLID).

Guarantees: labels become language tags, ISO 639-1 where there is such a code, else ISO 639-3, with the
script after a hyphen where the model names one: `__label__en` is `en`, `__label__eng_Latn` is `en-Latn`.
The rule for short texts: they are judged like long ones, down to one letter, and their low scores are the
caller's to filter; a text without a letter (empty, digits, punctuation) is `und` with score 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import fasttext_model, models
from cluster.errors import RecipeError

if TYPE_CHECKING:
    from classifiers.native_fasttext.on_device import DeviceTexts

UNDETERMINED = "und"  # ISO 639-2 for "undetermined"
PREFIX = "__label__"

# ISO 639-1 and the ISO 639-3 code of the same language.
_ISO = """
aa aar,ab abk,ae ave,af afr,ak aka,am amh,an arg,ar ara,as asm,av ava,ay aym,az aze,ba bak,be bel,
bg bul,bh bih,bi bis,bm bam,bn ben,bo bod,br bre,bs bos,ca cat,ce che,ch cha,co cos,cr cre,cs ces,cu chu,
cv chv,cy cym,da dan,de deu,dv div,dz dzo,ee ewe,el ell,en eng,eo epo,es spa,et est,eu eus,fa fas,
ff ful,fi fin,fj fij,fo fao,fr fra,fy fry,ga gle,gd gla,gl glg,gn grn,gu guj,gv glv,ha hau,he heb,
hi hin,ho hmo,hr hrv,ht hat,hu hun,hy hye,hz her,ia ina,id ind,ie ile,ig ibo,ii iii,ik ipk,io ido,
is isl,it ita,iu iku,ja jpn,jv jav,ka kat,kg kon,ki kik,kj kua,kk kaz,kl kal,km khm,kn kan,ko kor,
kr kau,ks kas,ku kur,kv kom,kw cor,ky kir,la lat,lb ltz,lg lug,li lim,ln lin,lo lao,lt lit,lu lub,
lv lav,mg mlg,mh mah,mi mri,mk mkd,ml mal,mn mon,mr mar,ms msa,mt mlt,my mya,na nau,nb nob,nd nde,
ne nep,ng ndo,nl nld,nn nno,no nor,nr nbl,nv nav,ny nya,oc oci,oj oji,om orm,or ori,os oss,pa pan,
pi pli,pl pol,ps pus,pt por,qu que,rm roh,rn run,ro ron,ru rus,rw kin,sa san,sc srd,sd snd,se sme,
sg sag,sh hbs,si sin,sk slk,sl slv,sm smo,sn sna,so som,sq sqi,sr srp,ss ssw,st sot,su sun,sv swe,
sw swa,ta tam,te tel,tg tgk,th tha,ti tir,tk tuk,tl tgl,tn tsn,to ton,tr tur,ts tso,tt tat,tw twi,
ty tah,ug uig,uk ukr,ur urd,uz uzb,ve ven,vi vie,vo vol,wa wln,wo wol,xh xho,yi yid,yo yor,za zha,
zh zho,zu zul
"""
# Members of a macrolanguage that models use for the whole of it (ISO 639-3 registry).
_MEMBERS = """
ar arb,az azj,et ekk,fa pes,lv lvs,mg plt,mn khk,ms zsm,ne npi,or ory,ps pbt,sq als,sw swh,uz uzn,
yi ydd,zh cmn,ff fuv,gn gug,ku kmr,om gaz,qu quy,ay ayr,ak twi,sc sro
"""
# Codes without a script (Wikipedia's, in lid.176) that ISO 639-3 withdrew or uses for another language.
_WIKIPEDIA = {"als": "gsw", "iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro"}


# What a code of several languages means besides itself, where models name them one by one (ISO 639-3 macrolanguages).
_MEANS = {"no": ("nb", "nn"), "sh": ("bs", "hr", "sr")}


def _pairs(table: str) -> dict[str, str]:
    return {long: short for short, long in (pair.split() for pair in table.replace("\n", "").split(",") if pair)}


TO_ISO1 = {**_pairs(_MEMBERS), **_pairs(_ISO)}
ISO1 = frozenset(_pairs(_ISO).values())
_TAG = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?")


def normalise(label: str) -> str:
    """Return the language tag of a model's label or of a code that a user wrote.

    Examples
    --------
    >>> [normalise(x) for x in ("__label__eng_Latn", "deu", "zh-hant", "ceb", "__label__als", "als_Latn")]
    ['en-Latn', 'de', 'zh-Hant', 'ceb', 'gsw', 'sq-Latn']
    """
    name = label.removeprefix(PREFIX)
    found = _TAG.fullmatch(name)
    if not found:
        return name
    code, script = found[1].lower(), found[2]
    if script is None:
        code = _WIKIPEDIA.get(code, code)
    code = TO_ISO1.get(code, code)
    return f"{code}-{script.title()}" if script else code


def check_code(code: str) -> str:
    """Return the tag a user means by `code`; raise RecipeError when it is not a language code."""
    tag = normalise(code)
    if not _TAG.fullmatch(tag) or (len(tag.split("-")[0]) == 2 and tag.split("-")[0] not in ISO1):
        raise RecipeError(f"language must be an ISO 639-1 or 639-3 code such as en, ceb or zh-Hant, got {code!r}.")
    return tag


def matches(tags: tuple[str, ...], wanted: str) -> npt.NDArray[np.bool_]:
    """Tell which tags mean the wanted language, (tags,) bool; `en` also means `en-Latn`, and `no` also `nb`, `nn`."""
    every = (wanted, *_MEANS.get(wanted, ()))
    return np.array([t == wanted or t.split("-")[0] in every for t in tags], np.bool_)


def tags_of(spec: str) -> tuple[str, ...]:
    """Return the tags that a model can give, in its order, without loading it."""
    return tuple(normalise(label) for label in fasttext_model.labels_of(models.resolve(spec)))


def remedy(tags: tuple[str, ...], code: str) -> str:
    """Return what to write in place of a language that a model with these tags never names."""
    base = check_code(code).split("-")[0]
    whole = next((name for name, members in _MEANS.items() if base in members and name in tags), "")
    near = [t for t in tags if t.split("-")[0] in (base, whole)]
    if near:
        return f"It has {', '.join(near)}."
    same = sorted(t for t in tags if t[:1] == base[:1])
    return f"Of those with {base[:1]} it has {', '.join(same)}." if same else f"It has {len(tags)} others."


@dataclass(frozen=True, eq=False)
class Languages:
    """The language of some texts: index into `LanguageIdentifier.tags` and the model's score, (texts,)."""

    index: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]


class LanguageIdentifier:
    """A language model, loaded. Texts beyond `max_chars` characters are judged by their beginning.

    `tags` are the normalised labels, in the model's order, then `und`. Two labels may share a tag.
    """

    def __init__(self, spec: str, max_chars: int = fasttext_model.MAX_CHARS) -> None:
        self.path = models.resolve(spec)
        self.max_chars = max_chars
        self._model = fasttext_model.load(self.path)
        self.tags = (*(normalise(label) for label in self._model.labels), UNDETERMINED)

    def identify(self, texts: pa.Array | DeviceTexts) -> Languages:
        """Return the language of each text of a large_string array without nulls, or of texts on the device."""
        index, score = self._model.best(texts, self.max_chars)
        known = _have_letters(texts) & (index >= 0)
        return Languages(np.where(known, index, np.int32(len(self.tags) - 1)), np.where(known, score, np.float32(0)))

    def names(self, found: Languages) -> pa.Array:
        """Return the tags by name, (texts,) string."""
        return pa.array(self.tags, pa.string()).take(pa.array(found.index))

    def shares(self, texts: pa.Array, segment_chars: int) -> pa.Array:
        """Return how much of each text is in which language, by parts of about `segment_chars` characters.

        Returns
        -------
        (texts,) list<struct<language, share>>, largest share first, shares of characters add up to 1; empty
        for a text without a character.
        """
        from classifiers import segments  # compiled by numba

        parts, firsts = segments.cut(texts, segment_chars)
        found = self.identify(parts)
        characters = pc.utf8_length(parts).to_numpy().astype(np.float64)
        text = np.repeat(np.arange(len(texts)), np.diff(firsts))
        tags, code = np.unique(np.array(self.tags, object)[found.index].astype(str), return_inverse=True)
        keys, place = np.unique(text * max(len(tags), 1) + code, return_inverse=True)
        amount = np.bincount(place, characters, len(keys))
        owner, tag = np.divmod(keys, max(len(tags), 1))
        share = amount / np.bincount(text, characters, len(texts))[owner]
        order = np.lexsort((tag, -share, owner))
        values = pa.StructArray.from_arrays(
            [pa.array(tags[tag[order]], pa.string()), pa.array(share[order], pa.float32())], ["language", "share"]
        )
        return pa.ListArray.from_arrays(pa.array(np.searchsorted(owner, np.arange(len(texts) + 1)), pa.int32()), values)

    def card(self) -> dict[str, str]:
        """Return digest, licence and source of the model."""
        return fasttext_model.card(self.path)


def _have_letters(texts: pa.Array | DeviceTexts) -> npt.NDArray[np.bool_]:
    """Mark the texts that hold a letter, (texts,) bool."""
    if not isinstance(texts, pa.Array):
        from classifiers.native_fasttext import on_device

        return on_device.has_letters(texts)
    found: npt.NDArray[np.bool_] = pc.match_substring_regex(texts, r"\pL").to_numpy(zero_copy_only=False)
    return found
