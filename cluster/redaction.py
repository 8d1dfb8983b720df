"""Passwords, keys and signatures in URLs: found, named, and taken out of what is shown.

Recipes, manifests, reports and cards are kept and handed on, so a URL in them must hold no secret. Guarantees: what
`secret_in` finds, `hidden` takes out; a port, a user without a password and a container's name are no secrets.
Credentials that file systems find by themselves (environment, ~/.aws/credentials, fsspec's configuration) never pass
through here.
"""

from __future__ import annotations

import re
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
# The value stays unread: it may hold an assignment itself, as in --export=ALL,NAME=VALUE
_VALUE = r"(?=(?P<value>['\"]{0,9}[^\s;&|,'\"]{0,200}))"
_GIVEN = (
    re.compile(rf"(?i)(?<![A-Z0-9_-])(?P<name>[A-Z0-9_-]+)(?:=|:=|:-|\+=){_VALUE}"),  # NAME=, --flag=, ${NAME:-
    re.compile(rf"(?i)(?<![A-Z0-9_-])(?P<name>--?[A-Z][A-Z0-9_-]*)\s{{1,9}}(?!-){_VALUE}"),  # --flag value
    re.compile(  # "name: value", not in a comment
        rf"(?im)^[^#\n]*?(?<![A-Z0-9_-])(?P<name>[A-Z][A-Z0-9_-]{{0,99}})['\"]?\s{{0,9}}:\s{{0,9}}"
        rf"(?:(?:Bearer|Basic|Token)\s{{1,9}})?{_VALUE}"
    ),
)
_ASKS_CARE = re.compile(
    r"(?i)secret|token(?!s|iz|is)|passw(?:or)?d|passphrase|(?:api|access|account|private)[-_]?key|salt|credential|"
    r"authorization|(?<=[a-z0-9][-_])(?:pwd|jwt)(?![a-z])"
)
_TELLS_WHERE = re.compile(r"(?i)(?<=[-_])(path|file|files|dir|folder|env|name|cmd|command|helper|store|type|length)$")
_SWITCHES = re.compile(r"(?i)^-{0,2}(use|no|with|without|skip|enable|disable|require|print|show|add)[-_]")
_NO_SECRET = re.compile(r"(?i)|true|false|yes|no|on|off|none|null|[$`].*")
_NUMBER = re.compile(r"\d+")
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
    for form in _GIVEN:
        for match in form.finditer(text):
            if _is_secret(match["name"], match["value"].strip("'\"")):
                return match["name"]
    return "an API key" if _KEY.search(text) else ""


def _is_secret(name: str, value: str) -> bool:
    """Tell whether what a name is given is likely a secret, and written there."""
    asks = _ASKS_CARE.search(name)
    if asks is None or _NO_SECRET.fullmatch(value) or _TELLS_WHERE.search(name) or _SWITCHES.match(name):
        return False
    return not (asks[0].lower() == "token" and _NUMBER.fullmatch(value))


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
