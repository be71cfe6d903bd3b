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
    無し 無 无 なし 不明 没有 暂无 未知 없음 غير لا
"""
_NOTHINGS = frozenset(_WORDS.split())
# Sentences: "No mobile number found for this contact.", "Keine Nummer gefunden", "could not be found"
_DENIALS = re.compile(
    r"\b(?:no|not|none|never|without|cannot|can't|couldn't|doesn't|isn't|wasn't|unable|unavailable|unknown|missing"
    r"|nicht|kein\w*|ohne|unbekannt|pas|aucun\w*|sans|sin|ning[uú]n\w*|non|nessun\w*|senza|não|nao|nenhum\w*|sem"
    r"|geen|niet|onbekend|nie|brak|bez|ingen|inget|inte|ikke|ikkje|ei|нет|не|без|yok|không|tidak)\b"
    r"|なし|不明|ありません|見つかりません|没有|未找到|暂无|無|无|없",
)


def says_no_number(text: str) -> bool:
    """Tell whether *text* is a word or a sentence for nothing: "N/A", "-", "Not found", "kein Eintrag", "0"."""
    if text.startswith("+"):
        return False
    plain = unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).casefold().replace("’", "'")
    word = _EDGES.sub("", plain)
    if not word.strip("0., "):
        return True
    return word in _NOTHINGS or (not _has_number(word) and _DENIALS.search(word) is not None)


def _has_number(text: str) -> bool:
    """Tell whether *text* has enough digits for a number: "error 404" does not."""
    return sum(map(str.isdecimal, text)) >= 5
