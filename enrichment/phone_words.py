"""Recognise the words with which vendors say that there is no number, in the languages of their data."""

from __future__ import annotations

import re
import unicodedata

from enrichment.nothing import is_template
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
    n-a n.v.t nvt n.v s/d b/d z/n n/k n/p k/a
    unpublished ex-directory disconnected unsubscribed opted-out optedout optout opt-out unassigned undisclosed
    nenalezeno nenalezen nenašlo nenájdené neznámé neznámý žiadne žiadny nincs ismeretlen bulunamadı bulunamadi
    bulunmuyor nepoznato nema nimic necunoscut inexistent tiada saknas mangler puuttuu κανένα άγνωστο немає невідомо
    אין ไม่มี
"""
_NOTHINGS = frozenset(_WORDS.split())
# Words for the place of a number, which say nothing of one: "N/A (mobile)", {"mobile": null}
_PLACES = frozenset(["mobile", "mobil", "phone", "phones", "cell", "number", "handy", "tel", "value"])
_SPACED_SIGN = re.compile(r"(?<=\b\w) ?([/.\\-]) ?(?=\w\b)")
_MASK = re.compile(r"[x*]+")
_SIGNED = re.compile(r"[-\u2212+]\s?\d{0,3}")  # minus one in place of none, or a country's code alone
# Sentences: "No mobile number found for this contact.", "Keine Nummer gefunden", "could not be found"
_DENIALS = re.compile(
    r"\b(?:no|not|none|nothing|never|without|cannot|can't|couldn't|doesn't|isn't|wasn't|unable|unavailable|unknown|missing"
    r"|nicht|kein\w*|ohne|unbekannt|pas|aucun\w*|sans|sin|ning[uú]n\w*|non|nessun\w*|senza|não|nao|nenhum\w*|sem"
    r"|nu|nem|nincs|nelze|nenalezen\w*|není|nema|δεν|δε|לא|אין|geen|niet|onbekend|nie|brak|bez"
    r"|ingen|inget|inte|ikke|ikkje|ei|нет|не|без|yok|không|tidak|tiada)\b"
    r"|opted[ -]out|opt[ -]out|not in service|out of service"
    r"|غير|لا يوجد|لم يتم|ไม่|नहीं|chưa"
    r"|찾을 수|없|なし|不明|ありません|見つかりません|没有|未找到|找不到|暂无|無|无",
)


def says_no_number(text: str) -> bool:
    """Tell whether *text* is a word or a sentence for nothing: "N/A", "-", "Not found", "kein Eintrag", "0"."""
    if _SIGNED.fullmatch(text.strip()):
        return True
    if text.startswith("+"):
        return False
    plain = unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).casefold().replace("’", "'")
    word = _SPACED_SIGN.sub(r"\1", _EDGES.sub("", plain))  # N / A, N. A.
    if not word.strip("0., "):
        return True
    if word in _NOTHINGS:
        return True
    if _has_number(word):
        return False
    return (
        _DENIALS.search(plain.replace("_", " ")) is not None
        or _only_nothings(plain)
        or _is_unfilled(text[:LONGEST_TEXT])
    )


def _is_unfilled(text: str) -> bool:
    """Tell whether *text* is a template: [phone], [object Object]. JSON in a text has quotes and is none."""
    return '"' not in text and is_template(text.strip())


def _only_nothings(plain: str) -> bool:
    """Tell whether each word is one for nothing, a mask, a template or the name of the number's place."""
    words = [_EDGES.sub("", word) for word in re.split(r"[\s,;|:()]+", plain)]
    others = [word for word in words if word and word not in _PLACES]
    templates = plain.lstrip().startswith(("{{", "${", "%")) and len(words) < 5
    return templates or (bool(others) and all(word in _NOTHINGS or _MASK.fullmatch(word) for word in others))


def _has_number(text: str) -> bool:
    """Tell whether *text* has enough digits for a number: "error 404" does not."""
    return sum(map(str.isdecimal, text)) >= 5
