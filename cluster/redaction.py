"""Passwords, keys and signatures in URLs: found, named, and taken out of what is shown.

Recipes, manifests, reports and cards are kept and handed on, so a URL in them must hold no secret. Guarantees: what
`secret_in` finds, `hidden` takes out; a port, a user without a password and a container's name are no secrets.
Credentials that file systems find by themselves (environment, ~/.aws/credentials, fsspec's configuration) never pass
through here. What a shell line gives variables, flags and headers of secret names is found too. Takes time linear in
the text, however hostile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

MASK = "***"
# Repeats have a largest number where a hostile text could make each place look to its end
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,40}"
_NEXT = rf"(?:::|[,;|]){_SCHEME}://"  # an archive's URL and that of where it lies are chained by ::
_URL = re.compile(rf"(?P<scheme>{_SCHEME})://(?P<rest>(?:(?!{_NEXT})[^\s'\"<>`])*)")
_PORT = re.compile(r"[^/?#@]*:\d+(?:[/?#]|$)")
_HOST_END = re.compile("[/?#]")
_COLON = re.compile(":|%3[Aa]")
_PAIR = re.compile(r"(?P<lead>[?&;#])(?P<name>[^=&;#?]+)=(?P<value>[^&;#\s]*)")
_NAMES = re.compile(
    r"(^|[-_.])(sig|sas|sid|key|auth|pwd|pass|jwt|code|hmac|session)$|^authkey$|sess(ion)?_?id$|accesskey|access[-_]key|api[-_]?key|"
    r"token|secret|passw|signature|credential|authorization|awsaccesskeyid|googleaccessid",
    re.IGNORECASE,
)
_WEB = ("http", "https", "ftp", "ftps", "hdfs+http", "webdav", "webdavs")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_NAMED = re.compile(
    r"(?i)^(?!.*tokens)(.*[-_ ])?(api[-_]?key|key|auth|authorization|token|secret|password|credentials?)$"
)
# Only what stands before a value is read: the value may hold an assignment itself, as in --export=ALL,NAME=VALUE
_EDGE = "(?<![A-Z0-9_-])"
_BLANKS = r"(?:[ \t]|\\\n){1,9}"
_ASSIGNED = re.compile(rf"(?i){_EDGE}(?P<name>[A-Z0-9_-]+)(?:=|:=|:-|\+=)")  # NAME=, --flag=, ${NAME:-
_FLAG = re.compile(rf"(?i){_EDGE}(?P<name>--?[A-Z][A-Z0-9_-]*){_BLANKS}(?!-)")  # --flag value
_HEADER = re.compile(  # "name: value"; neither ${name:2} nor volume:/path
    rf"(?i)(?<!\$\{{){_EDGE}(?P<name>[A-Z][A-Z0-9_-]{{0,99}})\\?['\"]?\s{{0,9}}:(?![-=?+/:])\s{{0,9}}"
    r"(?:\\?['\"])?(?:(?:Bearer|Basic|Token|Digest|OAuth|Api-?Key|Key)\s{1,9})?"
)
_SET = re.compile(
    rf"(?i){_EDGE}(?:setenv|configure{_BLANKS}set|set{_BLANKS}-[a-z]+){_BLANKS}(?P<name>[A-Z0-9_]+){_BLANKS}"
)
_LOGIN = re.compile(rf"{_EDGE}(?P<name>sshpass{_BLANKS}-p)(?:{_BLANKS})?")
_CURL = re.compile(rf"{_EDGE}curl\s[^\n\\]*(?:\\(?:.|\n)[^\n\\]*)*")
_USER = re.compile(
    rf"(?<=\s)(?P<name>-[A-Za-z]{{0,9}}[uU]{_BLANKS}|-[uU]|--(?:proxy-)?user(?:{_BLANKS}|=))['\"]?[^\s:'\"]{{0,200}}:"
)
_LEAD = re.compile(r"(?:\\?['\"]|\$(?=['\"])|\$\{\w{1,99}:?[-=+]){0,9}")  # what stands before the text of a value
_VALUE = re.compile(r"[^\s;&|,'\"]{0,200}")
_WORD = re.compile(r"[^\s;&|'\"]*(?:['\"](?=\w)[^\s;&|'\"]*)*")
_TO_QUOTE = {"'": re.compile("[^']*"), '"': re.compile(r'(?s)[^"\\]*(?:\\.[^"\\]*)*')}
_GOES_ON = re.compile(r"(?:['\"]{1,2}(?=\w)[^\s;&|'\"]*)*")  # 'a'"b" is one word
_TO_LINE_END = re.compile(r"[^'\"\n]*")
_QUOTED_OR_COMMENT = re.compile(
    r"(?s)(?P<quoted>\\.|'[^']*(?:'|\Z)|\"[^\"\\]*(?:\\.[^\"\\]*)*(?:\"|\Z))"
    r"|(?<![^\s;&|()])#(?!SBATCH|PBS|BSUB|FLUX)[^\n]*"
)
_ASKS_CARE = re.compile(
    r"(?i)secret|token(?!s|iz|is)|passw(?:or)?d|passphrase|(?:api|access|account|private|auth|encryption)[-_]?key|salt|"
    r"credential|authorization|(?<=[a-z0-9][-_])(?:pwd|jwt)(?![a-z])|(?<![a-z0-9])pass$"
)
_KEY_OF = re.compile(  # of a variable; keys of these words are files, hosts or columns
    r"(?:^|_)(?!(?:SSH|PUBLIC|PUB|GPG|HOST|SORT|ORDER|GROUP|JOIN|MERGE|DEDUP|PARTITION|SHARD|PRIMARY|FOREIGN|UNIQUE|ROW|COL|"
    r"COLUMN|INDEX|HASH|CACHE|LOOKUP|MAP|DICT|OBJECT|BUCKET|FIELD|TEXT|ID|DOC|JSON|YAML|DATA|LABEL|URL|IMAGE|METRIC|CONFIG|"
    r"INPUT|OUTPUT|PROMPT|RESPONSE|TARGET|SOURCE|CONTENT|MESSAGE|VALUE|ANSWER|QUESTION|FEATURE)_)[A-Z0-9]+_KEY$"
)
_TELLS_WHERE = re.compile(r"(?i)(?<=[-_])(path|file|files|dir|folder|env|cmd|command|helper|type|length)$")
_TELLS_WHICH = re.compile(r"(?i)^-.*[-_](name|store|column|field|level)$")  # of a flag
_SPECIAL = re.compile(  # a tokenizer's own
    r"(?i)(?:^|[-_])(?:[be]os|eo[dmt]|pad|unk|cls|sep|mask|special|stop|image|audio|video|prefix|middle|suffix|per)[-_]token$"
)
_SWITCH = re.compile(r"(?i)(?:^|[-_])(use|no|with|without|skip|enable|disable|require|print|show)[-_]")
_COUNT = re.compile(r"(?i)(?:^|[-_])(max|min|num|count|budget|limit|size|per)(?:[-_]|$)")
_ON_OR_OFF = re.compile(r"(?i)true|false|yes|no|on|off|none|null|[01]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_FILE = re.compile(r"(?:~|\.{0,2}/).*|.*\.(?:pem|key|pub|json)")
_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:(?:hf|ghp|gho|github_pat|r8|gsk)_|(?:glpat|nvapi|xai|sk|xox[abprs])-)"
    r"(?=[A-Za-z_-]{0,30}[0-9])[A-Za-z0-9_-]{16,99}|(?<![A-Za-z0-9_-])(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])"
)


def secret_in(text: str) -> str:
    """Return what secret a text's URLs hold, in words; empty where they hold none.

    >>> secret_in("https://me:pw@host/a"), secret_in("s3://bucket/a?X-Amz-Signature=0a"), secret_in("tcp://host:8786")
    ('a password', "the query parameter 'X-Amz-Signature'", '')
    """
    for match in _URL.finditer(text):
        scheme, rest = _last(match["scheme"]), match["rest"]
        if _password(rest):
            return "a password"
        if scheme in _WEB and _user_alone(rest):
            return "a user name that may be a token"
        for pair in _PAIR.finditer(rest):
            name = unquote(pair["name"])
            if pair["value"] and _NAMES.search(name):
                return f"the query parameter {name!r}"
    return ""


def hidden(text: str) -> str:
    """Return a text with the secrets of its URLs replaced by ***.

    >>> hidden("cannot read https://me:pw@host/a?sig=0a&b=1: gone")
    'cannot read https://me:***@host/a?sig=***&b=1: gone'
    """
    return _URL.sub(_hide, text) if "://" in text else text


def names_secret(name: str) -> bool:
    """Tell whether what is called so is likely a secret.

    >>> names_secret("api_key"), names_secret("Authorization"), names_secret("max_tokens"), names_secret("key_env")
    (True, True, False, False)
    """
    return bool(_NAMED.match(name))


def names_variable(text: str) -> bool:
    """Tell whether a text may be the name of an environment variable, and does not look like an API key.

    >>> names_variable("OPENAI_API_KEY"), names_variable("sk-4f0a"), names_variable("hf_aBcD0123eFgH4567iJkL")
    (True, False, False)
    """
    random = len(text) >= 20 and re.search("[a-z]", text) and re.search("[0-9]", text)
    prefixed = re.match(r"(sk|pk|hf|gsk|xai|api|key|nvapi|r8)_(?=.*[a-z])(?=.*[0-9])", text)
    return bool(_VARIABLE.fullmatch(text)) and not random and not prefixed


def assigned_secret(text: str) -> str:
    """Return what is given a secret outright in a shell line: variable, flag or header; empty where nothing is.

    >>> assigned_secret("export HF_TOKEN=hf_abc"), assigned_secret("export HF_TOKEN=$(cat ~/.token)")
    ('HF_TOKEN', '')
    >>> assigned_secret("serve --api-key abc"), assigned_secret("export TOKENIZERS_PARALLELISM=false")
    ('--api-key', '')
    """
    found = next(_given(text), None)
    if found:
        return found[0]
    return "an API key" if _KEY.search(text) else ""


def without_assigned(text: str) -> str:
    """Return a shell line with *** for each secret that `assigned_secret` finds in it.

    >>> without_assigned("serve --api-key 'a b' --port 1; HF_TOKEN=abc run")
    "serve --api-key '***' --port 1; HF_TOKEN=*** run"
    """
    parts, done = [], 0
    for name, begin in sorted(_given(text), key=lambda given: given[1]):
        if begin >= done:
            parts += [text[done:begin], MASK]
            # Behind Authorization: a scheme of any name may stand, and several words
            done = _end(_TO_LINE_END, text, begin) if "authorization" in name.lower() else _value_end(text, begin)
    return _KEY.sub(MASK, "".join([*parts, text[done:]]))


def _given(text: str) -> Iterator[tuple[str, int]]:
    """Find what is given a secret in a shell line, and where the secret begins."""
    text = _QUOTED_OR_COMMENT.sub(_blank_comment, text) if "#" in text else text
    for form in (_ASSIGNED, _FLAG, _HEADER, _SET):
        for match in form.finditer(text):
            name = match["name"]
            asks = _asks_care(name)
            if not asks or (form is _FLAG and _SWITCH.search(name)):  # what follows a switch is no value of its
                continue
            begin, value = _value(text, match.end())
            switchable = form not in (_ASSIGNED, _SET) or name.startswith("-") or bool(_SWITCH.search(name))
            if _is_secret(name, asks, value, switchable=switchable, bare=begin == match.end()):
                yield name, begin
    for match in _logins(text):
        begin, value = _value(text, match.end())
        if value and value[0] not in "$`":
            yield match["name"].rstrip(" \t\\\n="), begin


def _blank_comment(match: re.Match[str]) -> str:
    return match["quoted"] or " " * len(match[0])


def _logins(text: str) -> Iterator[re.Match[str]]:
    """Find the programs that are given a password by an option without a name of its own."""
    yield from _LOGIN.finditer(text)
    for line in _CURL.finditer(text):
        yield from _USER.finditer(text, line.start(), line.end())


def _value(text: str, place: int) -> tuple[int, str]:
    """Return where a value begins behind its quotes and `${NAME:-`, and its text."""
    begin = _end(_LEAD, text, place)
    return begin, text[begin : _end(_VALUE, text, begin)].rstrip("})]\\")


def _value_end(text: str, begin: int) -> int:
    """Return where a value ends: at its closing quote, else at a blank."""
    quote = text[begin - 1 : begin]
    if quote not in _TO_QUOTE:
        return _end(_WORD, text, begin)
    if text[begin - 2 : begin - 1] == "\\":  # a quote within a quote
        end = text.find(f"\\{quote}", begin)
        return end if end >= 0 else len(text)
    return _end(_GOES_ON, text, _end(_TO_QUOTE[quote], text, begin))


def _end(form: re.Pattern[str], text: str, place: int) -> int:
    match = form.match(text, place)
    return match.end() if match else place


def _asks_care(name: str) -> set[str]:
    """Return the words of a name by which it is likely that of a secret."""
    asks = {word.lower() for word in _ASKS_CARE.findall(name)}
    if not asks and _KEY_OF.search(name):
        asks = {"key"}
    if not asks or _TELLS_WHERE.search(name) or _TELLS_WHICH.search(name) or _SPECIAL.search(name):
        return set()
    return asks


def _is_secret(name: str, asks: set[str], value: str, *, switchable: bool, bare: bool) -> bool:
    """Tell whether what a name that asks for care is given is likely a secret, and written there."""
    if not value or value[0] in "$`" or (value[0] in "<>" and (bare or asks == {"token"})):
        return False
    if switchable and _ON_OR_OFF.fullmatch(value):
        return False
    if _FILE.fullmatch(value) and asks <= {"key", "private_key", "private-key", "credential"}:
        return False
    if not _NUMBER.fullmatch(value):
        return True
    least = 7 if asks == {"token"} else 3 if asks == {"pass"} else 0  # digits of a secret
    return len(value) >= least and not (least and _COUNT.search(name))


def _last(scheme: str) -> str:
    """Return the scheme without what a message put before it, as in `datasets.https`."""
    return scheme.lower().rpartition(".")[2]


def _user_end(rest: str, start: int = 0) -> int:
    """Return where the @ before a host lies in an address behind its scheme, from a place on; -1: there is none."""
    end = _HOST_END.search(rest, start)
    return rest.rfind("@", start, end.start() if end else len(rest))


def _user_alone(rest: str) -> int:
    """Return where a user without a password ends in an address behind its scheme; 0 where there is none."""
    stop = max(0, _user_end(rest))
    colon = rest.find(":", 0, stop)
    return stop if colon < 0 else max(0, rest.rfind("@", 0, colon))


def _password(rest: str) -> tuple[int, int] | None:
    """Return where the password begins and ends in an address behind its scheme."""
    host_end = _HOST_END.search(rest)
    colon = _COLON.search(rest, 0, host_end.start() if host_end else len(rest))
    if colon is None:
        return None
    stop = _user_end(rest)
    if stop < 0 and not _PORT.match(rest):
        first = re.split("[?#]", rest, maxsplit=1)[0].find("@")  # a key may hold a slash
        stop = first if first < 0 else _user_end(rest, first)
    return (colon.end(), stop) if stop > colon.end() else None


def _hide(match: re.Match[str]) -> str:
    scheme, rest = match["scheme"], match["rest"]
    if place := _password(rest):
        rest = f"{rest[: place[0]]}{MASK}{rest[place[1] :]}"
    elif _last(scheme) in _WEB and (stop := _user_alone(rest)):
        rest = f"{MASK}{rest[stop:]}"
    return f"{scheme}://{_PAIR.sub(_hide_pair, rest)}"


def _hide_pair(match: re.Match[str]) -> str:
    lead, name, value = match["lead"], match["name"], match["value"]
    return f"{lead}{name}={MASK if value and _NAMES.search(unquote(name)) else value}"
