"""Tell words for nothing, unfilled templates and placeholder words from values."""

from __future__ import annotations

import re
from functools import lru_cache

# Ways to leave a field empty; case, brackets and quotes around them make no difference.
# https://docs.aws.amazon.com/healthlake/latest/devguide/ names n/a, none, null, unknown and zeros among placeholders.
_WORDS = """
n/a n.a. n.a na n\\a n/d n.d. nan nil null none undefined unknown unavailable unspecified unassigned undisclosed no
nothing missing empty blank void false nat noemail nomail noname tbd t.b.d. tba tbc tbs todo pending
n-a n/v n/k s/d b/d z/n nenalezeno nenalezen bulunamadı bulunamadi žiadne tiada ไม่พบ ไม่มี
#n/a #nv #n/d #na #nan #null \\n
keine keiner keins kein k.a. k.a unbekannt nichts leer ohne entfällt fehlt n.v.
aucun aucune néant neant inconnu inconnue sans vide ninguno ninguna desconocido desconocida vacío
nenhum nenhuma não nao desconhecido nessuno nessuna sconosciuto vuoto assente geen onbekend n.v.t. nvt leeg
ingen inget ukjent okänd ukendt saknas mangler tuntematon puuttuu brak nieznany žádný zadny neznámý nincs ismeretlen
nema nepoznato yok bilinmiyor нет неизвестно отсутствует немає невідомо
なし 無し 不明 未定 未入力 未設定 无 無 暂无 未知 没有 空 없음 모름 미정
"""
_PHRASES = """
not available|not applicable|not provided|not given|not known|not found|not set|not specified|not disclosed|not listed
not supplied|not entered|not defined|not recorded|not stated|not assigned|none given|none provided|none listed
no email|no e-mail|no mail|no email address|no address|no name|no linkedin|no linkedin url|no linkedin profile
no profile|no url|no link|no company|no value|no data|no info|no information|no answer|no record|no one
does not have|does not exist|doesn't have one|don't know|dont know|do not know|unable to find|could not find
to be determined|to be confirmed|to be added|to follow|keine angabe|keine angaben|keine e-mail|keine email|keine mail
kein name|k. a.|n. v.|nicht vorhanden|nicht bekannt|nicht verfügbar|nicht angegeben|non renseigné|non renseigne
non disponible|pas de mail|pas d'email|no disponible|no tiene|no aplica|sin email|sin correo|sin nombre|sin datos
não tem|nao tem|não informado|nao informado|não disponível|sem email|sem e-mail|non disponibile|non presente
niet beschikbaar|niet bekend|geen email|ei ole|brak danych|nie dotyczy|не указан|не указано
не найдено|nem található|nincs adat|nu a fost găsit|nu există|není k dispozici|δεν βρέθηκε|δεν υπάρχει|לא נמצא|לא ידוע
אין מידע|غير متوفر|غير موجود|غير معروف|لا يوجد|tidak ada|không có|opted out
"""
NOTHING = frozenset(_WORDS.split()) | frozenset(_PHRASES.strip().replace("\n", "|").split("|"))
# Words that may be a given name or a family name: title case beside another name keeps them.
ALSO_NAMES = frozenset({"Na", "Nan", "Nil", "No", "Null"})

_AROUND = " ()[]<>\"'`*_"
_SPACED_SIGN = re.compile(r"(?<=\b\w) ?([/.]) ?(?=\w\b)")  # N / A, N. A.
_ZERO = re.compile(r"0+(?:[.,]0+)?")
_SHEET_ERROR = re.compile(
    r"#[a-zàâçéèêëîïôûù/0_ ]{2,16}[!?]"
)  # #REF!, #NAME?, #DIV/0!, #BEZUG!, #¡VALOR! and their kin
_GROUP = r"\[\[?[\w .'-]+\]\]?|<[\w .'-]+>|%%?[A-Za-z_][\w .]*%%?|\$[A-Za-z_][\w.]*"
_ONLY_GROUPS = re.compile(rf"(?:(?:{_GROUP})[ ,.-]{{0,3}}){{1,6}}")
_TEMPLATE_SIGN = re.compile(r"[{\[<%$*]|__")
_BRACES = re.compile(r"\{[^{}]*\}")
_MARKS = re.compile(r"\*\|[^|]{1,60}\|\*|<%|%>|\[object [A-Za-z]{1,20}\]|__[A-Z][A-Z_]{0,40}__")


# Words that fill a form in place of a name.
_WORDS_OF_JUNK_WORDS = """
test tests testing tester testuser testname testfirst testlast dummy fake foo bar baz foobar asdf asdfg asdfgh asd
asdfasdf qwe qwer qwert qwerty qwertz qwertyuiop abc abcd abcde first last firstname lastname surname fullname
forename givenname familyname name vorname nachname nom prénom prenom nombre apellido apellidos nome cognome
sobrenome voornaam achternaam user username contact lead person customer client prospect anonymous anonymized
anonymised anon unnamed untitled noname nobody someone somebody sample example demo placeholder lorem ipsum redacted
deleted removed hidden private guest your my full new null none n/a na unknown undefined mustermann musterfrau
muster
"""
JUNK_WORDS = frozenset(_WORDS_OF_JUNK_WORDS.split())


@lru_cache(maxsize=256)  # the readers of one contact ask again about the same text
def is_nothing(text: str) -> bool:
    """Tell whether the tidied *text* is a word for nothing, once or repeated, or has no letter and no digit."""
    folded = text.casefold().strip(_AROUND)
    if " " not in folded:
        return _says_nothing(folded)
    folded = _SPACED_SIGN.sub(r"\1", folded)
    if _says_nothing(folded):
        return True
    if len(folded) > 80:
        return False
    return all(_says_nothing(word.strip(",;" + _AROUND)) for word in folded.split())


def _says_nothing(folded: str) -> bool:
    if folded in NOTHING:
        return True
    if folded[:1].isalpha():
        return False
    if not any(map(str.isalnum, folded)) or _ZERO.fullmatch(folded):
        return True
    return folded.startswith("#") and _SHEET_ERROR.fullmatch(folded.replace("¡", "")) is not None


def is_nothing_beside_a_name(text: str) -> bool:
    """Tell whether *text*, a part of a name, is a word for nothing, and no initial or name such as Na or Nil."""
    return text not in ALSO_NAMES and not (len(text) == 1 and text.isalpha()) and is_nothing(text)


def is_template(text: str) -> bool:
    """Tell whether *text* has a template that was not filled in: {{name}}, ${name}, %NAME%, [First Name], *|FNAME|*."""
    if not _TEMPLATE_SIGN.search(text):
        return False
    if any(any(map(str.isalnum, braced)) for braced in _BRACES.findall(text)):
        return True
    return _MARKS.search(text) is not None or _ONLY_GROUPS.fullmatch(text) is not None


def is_junk_word(word: str) -> bool:
    """Tell whether a lower-case *word* fills a form in place of a name: test, asdf, xxx, undefined."""
    return word in JUNK_WORDS or word in NOTHING or (len(word) > 2 and len(set(word)) == 1 and word.isalpha())
