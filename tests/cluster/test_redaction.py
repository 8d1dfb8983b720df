"""Secrets in URLs of every form that file systems and signers use are found and hidden; ordinary paths stay."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import RecipeError
from cluster.redaction import assigned_secret, hidden, names_secret, secret_in, without_assigned

SECRET = "s3cr3tV4lue"
URLS = [
    "zip://a/b.jsonl::s3://AKIA:{}@bucket/a.zip",
    "zip://*.jsonl::https://host/a.zip?sig={}",
    "s3://bucket/a,https://me:{}@host/b",
    "https://me:a::b{}@host/c",
    "https://me:{}@host.example/a.jsonl",
    "s3://AKIA:{}@bucket/a",
    "s3://AKIA:{}/x+y@bucket/a",
    "ftp://me:{}@host:21/a",
    "http://{}@host/a",
    "datasets.http://{}@host/a",
    "https://me%3A{}@host/a",
    "s3://AKIA%3a{}@bucket/a",
    "simplecache::https://me:{}@host/a.parquet",
    "zip://a.jsonl::s3://AKIA:{}@bucket/a.zip",
    "tcp://me:{}@10.0.0.1:8786",
    f"https://{'eyJh.' * 400}:{{}}@host/a",
    f"s3://{'A' * 5_000}%3A{{}}/x+y@bucket/a",
    f"s3://{'%41' * 5_000}:{{}}@bucket/a",
    "sftp://me@mail.example:{}@host/a",
    "https://me:a@{}@host/a",
    "s3://AKIA:a/b@{}@bucket/a",
    "https://{}@mail.example@host/a",
    "https://b.s3.amazonaws.com/a?X-Amz-Algorithm=A&X-Amz-Signature={}&X-Amz-Date=1",
    "https://b.s3.amazonaws.com/a?x-amz-security-token={}",
    "https://b.s3.amazonaws.com/a?AWSAccessKeyId=AK&Signature={}&Expires=1",
    "https://a.blob.core.windows.net/c/a?sv=2024-11-04&sp=r&sig={}",
    "abfs://c@a.dfs.core.windows.net/x?sig={}",
    "https://storage.googleapis.com/b/a?X-Goog-Signature={}",
    "https://host/a?token={}",
    "https://host/a?access_token={}",
    "https://host/a?api_key={}",
    "https://host/a?apikey={}",
    "https://host/a?key={}",
    "https://host/a?b=1&auth={}",
    "https://host/a#access_token={}",
    "https://host/a?%73ig={}",
    "https://host/a?client-secret={}",
    "fasttext:https://host/q.bin?password={}",
]
PLAIN = [
    "zip://a@1/b.jsonl::https://host/x@y",
    "simplecache::s3://bucket/a,s3://bucket/b",
    "data/a*.jsonl",
    "/data/me:you@here/a.parquet",
    "s3://bucket/a?versionId=3",
    "gs://bucket/key=1/part-0.parquet",
    "hf://datasets/org/name@main/data/*.parquet",
    "abfs://container@account.dfs.core.windows.net/a",
    "sftp://me@host:22/a",
    "sftp://me@host:22/a@b",
    "https://me:@host/a",
    f"s3://{'A' * 5_000}/a:b@c",
    "http://host:8265/a@b",
    "tcp://10.0.0.1:8786",
    "https://host/a?page=2&monkey=1",
    "s3://bucket/year=2024/keyboards?x=1",
]


@pytest.mark.parametrize("url", URLS)
def test_a_secret_is_found_and_hidden(url: str) -> None:
    text = url.format(SECRET)
    assert secret_in(text)
    assert SECRET not in secret_in(text)
    assert SECRET not in hidden(f"cannot read {text}: it is gone")
    assert not secret_in(hidden(text)) or "***" in hidden(text)
    error = RecipeError(f"no such file: '{text}'")
    assert SECRET not in str(error)
    assert SECRET not in str(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize("path", PLAIN)
def test_ordinary_paths_hold_no_secret(path: str) -> None:
    assert secret_in(path) == ""
    assert hidden(path) == path


@given(st.text(max_size=60))
def test_hiding_never_fails_and_hides_once(text: str) -> None:
    assert hidden(hidden(f"https://{text}")) == hidden(f"https://{text}")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("export AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY"),
        ("HF_TOKEN='abc' run", "HF_TOKEN"),
        ("export WINNOW_PII_SALT=abc", "WINNOW_PII_SALT"),
        ("srun --export=ALL,HF_TOKEN=hf_abc winnow run a.yaml", "HF_TOKEN"),
        ("--env=HF_TOKEN=hf_abc", "HF_TOKEN"),
        ("--env='HF_TOKEN=hf_abc'", "HF_TOKEN"),
        ('--export=ALL,HF_TOKEN=$HF_TOKEN,MY_SALT="abc"', "MY_SALT"),
        (f"export HF_TOKEN_{'Y' * 300}=abc", f"HF_TOKEN_{'Y' * 300}"),
        ("export HF_TOKEN=$(cat ~/.token)", ""),
        ("srun --export=ALL,HF_TOKEN=$HF_TOKEN,MY_SALT", ""),
        ('docker run --env=HF_TOKEN="$(cat ~/.token)"', ""),
        ("source ~/.credentials", ""),
        ("module load python/3.11", ""),
        ("export OMP_NUM_THREADS=4", ""),
        ("export TOKENIZERS_PARALLELISM=false", ""),
        ('HF_TOKEN="" run', ""),
        ("HF_TOKEN= run", ""),
        ("export HF_HUB_DISABLE_IMPLICIT_TOKEN=1", ""),
        ("export HF_TOKEN_PATH=/home/me/.token", ""),
        ("export MAX_TOKENS=512", ""),
        ("run --max-tokens 512 --password-file /run/pw --use-auth-token train.py", ""),
        ("cd /x; export OLDPWD=/y PWD=/x", ""),
        ("login --token --other", ""),
        ('login --token "$HF_TOKEN"', ""),
        ("curl -H 'Authorization: Bearer $T' http://host", ""),
        ("# the token: ask the admin", ""),
        ("cp sk-learn-models-of-last-year /scratch", ""),
        ("serve --api-key=abc", "--api-key"),
        ("serve --api_key abc", "--api_key"),
        ("login --token abc", "--token"),
        ("login --token='abc'", "--token"),
        ("api_key: abc", "api_key"),
        ('echo \'{"api_key": "abc"}\'', "api_key"),
        ("curl -H 'Authorization: Bearer abc' http://host", "Authorization"),
        ('curl -H "X-Api-Key:abc"', "X-Api-Key"),
        ("export HF_TOKEN=${HF_TOKEN:-abc}", "HF_TOKEN"),
        ("export DB_PASSWORD=123456", "DB_PASSWORD"),
        ("export DB_PWD=abc", "DB_PWD"),
        ("export SLURM_JWT=eyJh", "SLURM_JWT"),
        ("login hf_aBcDeFgH0123456789", "an API key"),
        ("run sk-proj-aBcDeFgH0123456789", "an API key"),
    ],
)
def test_a_shell_line_that_gives_a_variable_a_secret_is_found(line: str, name: str) -> None:
    assert assigned_secret(line) == name


GIVEN = [
    "curl https://api.x.y -H 'Authorization: Bearer {}'",
    "curl -H 'Accept: */*' -H 'Authorization: Bearer {}' http://h",
    "curl -H 'Content-Type: application/json' -H \"X-Api-Key: {}\" h",
    "curl -H 'Authorization: Other-Scheme a=b, Signature={}' h",
    'echo \'{{"user": "me", "api_key": "{}"}}\'',
    'echo "{{\\"user\\": \\"me\\", \\"api_key\\": \\"{}\\"}}"',
    "export A='#'; echo 'Authorization: Bearer {}'",
    'echo "it\'s # not" --token {}',
    "echo a#b --token {}",
    "#SBATCH --export=HF_TOKEN={}",
    "TOKEN={}",
    "NPM_TOKEN={}",
    "ADD_PASSWORD={}",
    "NO_TOKEN={}",
    "MY_SECRET_NAME={}",
    "A_TOKEN_STORE={}",
    "login --with-token={}",
    "login --token \\\n  {}",
    "HF_TOKEN=${{T:-{}}}",
    'HF_TOKEN="${{A:-${{B-{}}}}}"',
    "HF_TOKEN=$'{}'",
    "HF_TOKEN='a b {}'",
    "HF_TOKEN='a'\"{}\" run",
    'HF_TOKEN="a\\"b {}" run',
    "DB_PASS={}",
    "PASS={}",
    "sshpass -p {} ssh h",
    "sshpass -p'{}' ssh h",
    "curl -u me:{}",
    "curl -sSu 'me:{}' h",
    "curl -ume:{} h",
    'curl "http://h?a=1&b=2" --proxy-user=me:{}',
    "curl -s \\\n -u me:{} h",
    "OPENAI_KEY={}",
    "OPENAI_KEY: {}",
    "ENCRYPTION_KEY={}",
    "setenv HF_TOKEN {}",
    "set -gx HF_TOKEN {}",
    "aws configure set aws_secret_access_key {}",
]


@pytest.mark.parametrize("secret", ["abc", SECRET, "12345678"])
@pytest.mark.parametrize("line", GIVEN)
def test_what_a_shell_line_gives_outright_is_found_and_hidden(line: str, secret: str) -> None:
    text = line.format(secret)
    assert assigned_secret(text)
    assert secret not in assigned_secret(text)
    assert secret not in without_assigned(text)
    assert text.startswith(without_assigned(text).partition("***")[0])


@pytest.mark.parametrize("line", ["DB_PASSWORD=off", "API_KEY=none", "HF_TOKEN=true", "DB_PASS=1234"])
def test_a_switch_word_or_number_may_be_a_password(line: str) -> None:
    assert assigned_secret(line)


@pytest.mark.parametrize(
    "line",
    [
        "MAX_TOKENS=4096",
        "MAX_TOKEN=100000000",
        "TOKEN_BUDGET=30000000000",
        "N_PASS=3",
        "HF_TOKEN=$HF_TOKEN",
        "HF_TOKEN=${HF_TOKEN}",
        'HF_TOKEN="${HF_TOKEN:-}"',
        "HF_TOKEN=${HF_TOKEN:-$OTHER}",
        "HF_TOKEN=${HF_TOKEN:?must be set}",
        "echo ${HF_TOKEN:0:4}",
        "GOOGLE_APPLICATION_CREDENTIALS=/home/me/key.json",
        "SSH_KEY=/home/me/.ssh/id",
        "TLS_KEY=~/tls.pem",
        "SSH_KEY=id_rsa",
        "MONKEY=abc",
        "KEYBOARD=us",
        "SORT_KEY=name",
        "run --text-key text --secret-name hub",
        "--eos-token '</s>'",
        "--bos_token '<s>'",
        "PAD_TOKEN='<pad>'",
        "TOKEN='<|endoftext|>'",
        "--special-token foo",
        "--use-auth-token=true --no-token",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN=true",
        "# see https://x: token=abc",
        "ls # token=abc",
        "gh auth status --show-token | cat",
        "login --token < file",
        "login --password <file",
        "docker run -v secret:/run/secret -u 1000:1000 image",
        "curl --user-agent=Moz:1 -u me h",
        'curl -u "$U:$PW" h',
        'curl -H "Authorization: Bearer "$T h',
        'sshpass -p "$PW" ssh h; sshpass -e ssh h',
        "setenv HF_TOKEN $T; setenv OMP_NUM_THREADS 4",
        'echo \'{"api_key": "", "token": null}\'',
    ],
)
def test_ordinary_shell_lines_pass_and_stay(line: str) -> None:
    assert assigned_secret(line) == ""
    assert without_assigned(line) == line


def test_only_the_secret_is_hidden() -> None:
    assert without_assigned("a --token abc --port 1; B_TOKEN='x y' c") == "a --token *** --port 1; B_TOKEN='***' c"
    assert without_assigned("login hf_aBcDeFgH0123456789 now") == "login *** now"


HOSTILE = [
    "a://" + ",aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 8_000,
    "a://" + "::" * 100_000,
    "y" * 100_000,
    "y" * 100_000 + "://a",
    "http://" + "%3A" * 33_000,
    "secret" * 16_000,
    "http://a?" + "token&" * 16_000,
]
HOSTILE += ["http://" * 14_000, "a:" * 50_000, "key_ " * 20_000, "http://" + "@" * 100_000]
HOSTILE += ["y=" * 150_000, "y='" * 100_000, "token=$" * 40_000, "y=" + "'" * 300_000]
HOSTILE += [
    "--token " * 40_000,
    "--a " * 100_000,
    "a:" * 150_000,
    "a : " * 100_000,
    "--" * 200_000,
    "token: $" * 40_000,
]
HOSTILE += [
    "hf_" * 100_000,
    "sk-" * 100_000,
    "token=1," * 40_000,
    "x" * 300_000 + ":",
    "a '" * 100_000,
    "a\n" * 150_000,
]
HOSTILE += ["${token:-" * 40_000 + "$x", "curl " + "-u a:$ " * 50_000, "curl " + "\\\n" * 150_000, "# '" * 100_000]
HOSTILE += ["token='a " * 40_000, 'token="' * 40_000 + "#", '"\\"' * 100_000 + "#", "A_KEY=$ " * 40_000]
HOSTILE += ["A_" * 150_000 + "KEY_=", "Authorization: a " * 20_000, "setenv " * 50_000, "--a" + " " * 300_000]
HOSTILE += ["http://" + each * 300_000 + ":y" for each in ("%", "a@", "1", "a/")] + ["http://a:" * 33_000 + "@"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_takes_little_time(text: str) -> None:
    begin = time.process_time()
    for look in (secret_in, hidden, names_secret, assigned_secret, without_assigned):
        look(text)
    assert time.process_time() - begin < 2
