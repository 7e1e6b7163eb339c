"""No password leaves this process in a line of text: logs, MLflow and Prefect get URLs without them."""

import re
from urllib.parse import unquote, urlsplit, urlunsplit

# user:password@ of a URL, or user@ alone, which may be a token. No spaces, quotes or slashes: it stays inside the URL.
CREDENTIALS = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/\"'\\@]*(?:@[^\s/\"'\\@]*)*@")
# …?password=… and its like, and what S3's and others' settings are called.
NAMED = re.compile(
    r"(?P<name>\b[\w.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|signature)=)"
    r"[^\s&\"'\\;,)]+",
    re.IGNORECASE,
)
KEPT = "…"


def hidden(text: str) -> str:
    """The text without user names and passwords of URLs, and without the values of settings that name a secret."""
    return NAMED.sub(rf"\g<name>{KEPT}", CREDENTIALS.sub(rf"\g<scheme>{KEPT}@", text))


def without_login(url: str) -> tuple[str, str, str]:
    """A URL without its user and password; and these, "" where it has none."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return (urlunsplit(parts._replace(netloc=host)) if at else url), unquote(user), unquote(password)
