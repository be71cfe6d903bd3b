"""Recognise the words with which vendors say that there is no number, in the languages of their data."""

from __future__ import annotations

import re
import unicodedata

from enrichment.phone_text import LONGEST_TEXT

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_WORDS = """
    na n/a n.a n\\a n/d nd n.d none null nil nan undefined unknown undef unlisted missing empty blank false tbd tba
    void unavailable private hidden redacted withheld confidential anonymous restricted pending invalid ref value
    n/v k.a ka keine kein keiner unbekannt fehlt leer entfällt aucun aucune inconnu néant ninguno ninguna
    desconocido vacío s/n nessuno nessuna sconosciuto assente nenhum nenhuma desconhecido vazio onbekend geen leeg
    brak nieznany ingen inget ukendt okänd ukjent ei tuntematon žádný není yok bilinmiyor нет неизвестно неизвестен
    無し 無 无 なし 不明 没有 暂无 未知 未登録 없음 غير لا
    nothing nomatch notfound noresult noresults nodata nophone nomobile nonumber noanswer nope error dnc removed deleted
"""
_NOTHINGS = frozenset(_WORDS.split())
# Words for the place of a number, which say nothing of one: "N/A (mobile)", {"mobile": null}
_PLACES = frozenset(["mobile", "mobil", "phone", "phones", "cell", "number", "handy", "tel", "value"])
_MASK = re.compile(r"[x*]+")
_SIGNED = re.compile(r"[-\u2212+]\s?\d{0,3}")  # minus one in place of none, or a country's code alone
# Sentences: "No mobile number found for this contact.", "Keine Nummer gefunden", "could not be found"
_DENIALS = re.compile(
    r"\b(?:no|not|none|nothing|never|without|cannot|can't|couldn't|doesn't|isn't|wasn't|unable|unavailable|unknown|missing"
    r"|nicht|kein\w*|ohne|unbekannt|pas|aucun\w*|sans|sin|ning[uú]n\w*|non|nessun\w*|senza|não|nao|nenhum\w*|sem"
    r"|geen|niet|onbekend|nie|brak|bez|ingen|inget|inte|ikke|ikkje|ei|нет|не|без|yok|không|tidak)\b"
    r"|なし|不明|ありません|見つかりません|没有|未找到|暂无|無|无|없",
)


def says_no_number(text: str) -> bool:
    """Tell whether *text* is a word or a sentence for nothing: "N/A", "-", "Not found", "kein Eintrag", "0"."""
    if _SIGNED.fullmatch(text.strip()):
        return True
    if text.startswith("+"):
        return False
    plain = unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).casefold().replace("’", "'")
    word = _EDGES.sub("", plain)
    if not word.strip("0., "):
        return True
    if word in _NOTHINGS:
        return True
    return not _has_number(word) and (_DENIALS.search(word.replace("_", " ")) is not None or _only_nothings(plain))


def _only_nothings(plain: str) -> bool:
    """Tell whether each word is one for nothing, a mask, a template or the name of the number's place."""
    words = [_EDGES.sub("", word) for word in re.split(r"[\s,;|:()]+", plain)]
    others = [word for word in words if word and word not in _PLACES]
    templates = plain.lstrip().startswith(("{{", "${", "%")) and len(words) < 5
    return templates or (bool(others) and all(word in _NOTHINGS or _MASK.fullmatch(word) for word in others))


def _has_number(text: str) -> bool:
    """Tell whether *text* has enough digits for a number: "error 404" does not."""
    return sum(map(str.isdecimal, text)) >= 5
