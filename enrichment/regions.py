"""Read countries in the ways people and programs write them: US from USA, en-US or "Boston, United States"."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from enrichment.nothing import is_template
from enrichment.texts import TEMPLATE, Unusable

_WANTED = "a country as two letters of ISO 3166, like US"

# ISO 3166-1: alpha-2, alpha-3, then names; a bar separates several names of one country.
_COUNTRIES = """
AD AND Andorra
AE ARE United Arab Emirates|UAE|Emirates|Dubai|Emirati Arabi Uniti|Vereinigte Arabische Emirate
AF AFG Afghanistan
AG ATG Antigua and Barbuda
AI AIA Anguilla
AL ALB Albania|Shqipëria|Albanien
AM ARM Armenia|Armenien
AO AGO Angola
AQ ATA Antarctica
AR ARG Argentina|Argentinien|Argentine
AS ASM American Samoa
AT AUT Austria|Österreich|Oesterreich|Autriche
AU AUS Australia|Australien|Australie
AW ABW Aruba
AX ALA Åland Islands|Aland
AZ AZE Azerbaijan|Aserbaidschan
BA BIH Bosnia and Herzegovina|Bosnia|Bosna i Hercegovina|Bosnien und Herzegowina|Bosnien
BB BRB Barbados
BD BGD Bangladesh|Bangladesch
BE BEL Belgium|Belgien|Belgique|België|Belgio|Bélgica
BF BFA Burkina Faso
BG BGR Bulgaria|Bulgarien|България|Bulgarie
BH BHR Bahrain
BI BDI Burundi
BJ BEN Benin|Bénin
BL BLM Saint Barthélemy
BM BMU Bermuda
BN BRN Brunei|Brunei Darussalam
BO BOL Bolivia|Plurinational State of Bolivia
BQ BES Bonaire|Caribbean Netherlands
BR BRA Brazil|Brasil|Brasilien|Brésil|Brasile
BS BHS Bahamas
BT BTN Bhutan
BV BVT Bouvet Island
BW BWA Botswana
BY BLR Belarus|Беларусь|Weißrussland
BZ BLZ Belize
CA CAN Canada|Kanada|Canadá
CC CCK Cocos Islands
CD COD Democratic Republic of the Congo|DR Congo|DRC|Congo Kinshasa
CF CAF Central African Republic
CG COG Congo|Republic of the Congo
CH CHE Switzerland|Schweiz|Suisse|Svizzera|Suiza|Zwitserland|Sveits
CI CIV Ivory Coast|Côte d'Ivoire
CK COK Cook Islands
CL CHL Chile
CM CMR Cameroon|Cameroun|Kamerun
CN CHN China|People's Republic of China|PRC|中国|Chine|Mainland China
CO COL Colombia|Kolumbien|Colombie
CR CRI Costa Rica
CU CUB Cuba|Kuba
CV CPV Cape Verde|Cabo Verde
CW CUW Curaçao
CX CXR Christmas Island
CY CYP Cyprus|Zypern|Κύπρος|Chypre
CZ CZE Czechia|Czech Republic|Česko|Česká republika|Tschechien|Tschechische Republik
DE DEU Germany|Deutschland|Allemagne|Alemania|Germania|Duitsland|Tyskland|Niemcy|Alemanha|BRD
DJ DJI Djibouti
DK DNK Denmark|Danmark|Dänemark|Danemark|Denemarken|Dinamarca|Danimarca
DM DMA Dominica
DO DOM Dominican Republic|República Dominicana
DZ DZA Algeria|Algérie|Algerien|الجزائر
EC ECU Ecuador
EE EST Estonia|Eesti|Estland
EG EGY Egypt|Ägypten|Égypte|مصر
EH ESH Western Sahara
ER ERI Eritrea
ES ESP Spain|España|Spanien|Espagne|Spagna|Spanje|Espanha
ET ETH Ethiopia|Äthiopien
FI FIN Finland|Suomi|Finnland|Finlande
FJ FJI Fiji
FK FLK Falkland Islands
FM FSM Micronesia
FO FRO Faroe Islands
FR FRA France|Frankreich|Francia|Frankrijk|Frankrike|França|République française
GA GAB Gabon
GB GBR United Kingdom|UK|Great Britain|England|Scotland|Wales|Northern Ireland|Großbritannien
GB GBR Vereinigtes Königreich|Royaume-Uni|Reino Unido|Regno Unito
GD GRD Grenada
GE GEO Georgia|Georgien|Sakartvelo
GF GUF French Guiana
GG GGY Guernsey
GH GHA Ghana
GI GIB Gibraltar
GL GRL Greenland|Grönland
GM GMB Gambia|The Gambia
GN GIN Guinea
GP GLP Guadeloupe
GQ GNQ Equatorial Guinea
GR GRC Greece|Hellas|Griechenland|Ελλάδα|Grèce|Grecia|EL
GS SGS South Georgia
GT GTM Guatemala
GU GUM Guam
GW GNB Guinea-Bissau
GY GUY Guyana
HK HKG Hong Kong|Hongkong|香港|Hong Kong SAR|Hong Kong SAR China|HKSAR
HM HMD Heard Island
HN HND Honduras
HR HRV Croatia|Hrvatska|Kroatien|Croatie|Croazia
HT HTI Haiti
HU HUN Hungary|Magyarország|Ungarn|Hongrie|Ungheria|Hongarije
ID IDN Indonesia|Indonesien
IE IRL Ireland|Éire|Irland|Irlande|Irlanda|Republic of Ireland|Ierland
IL ISR Israel|ישראל
IM IMN Isle of Man
IN IND India|Indien|Inde|भारत|Bharat
IO IOT British Indian Ocean Territory
IQ IRQ Iraq|Irak
IR IRN Iran|Islamic Republic of Iran
IS ISL Iceland|Ísland|Island
IT ITA Italy|Italia|Italien|Italie|Italië|Itália
JE JEY Jersey
JM JAM Jamaica
JO JOR Jordan|Jordanien
JP JPN Japan|日本|Japón|Japon|Giappone
KE KEN Kenya|Kenia
KG KGZ Kyrgyzstan
KH KHM Cambodia|Kambodscha
KI KIR Kiribati
KM COM Comoros
KN KNA Saint Kitts and Nevis
KP PRK North Korea
KR KOR South Korea|Korea|Republic of Korea|Südkorea|대한민국|한국|Corée du Sud
KW KWT Kuwait
KY CYM Cayman Islands
KZ KAZ Kazakhstan|Kasachstan
LA LAO Laos
LB LBN Lebanon|Libanon|Liban
LC LCA Saint Lucia
LI LIE Liechtenstein
LK LKA Sri Lanka
LR LBR Liberia
LS LSO Lesotho
LT LTU Lithuania|Lietuva|Litauen
LU LUX Luxembourg|Luxemburg
LV LVA Latvia|Latvija|Lettland
LY LBY Libya
MA MAR Morocco|Maroc|Marokko|Marruecos|المغرب
MC MCO Monaco
MD MDA Moldova|Republic of Moldova
ME MNE Montenegro|Crna Gora
MF MAF Saint Martin
MG MDG Madagascar
MH MHL Marshall Islands
MK MKD North Macedonia|Macedonia
ML MLI Mali
MM MMR Myanmar|Burma
MN MNG Mongolia
MO MAC Macau|Macao|澳門|澳门|Macau SAR|Macao SAR|Macao SAR China|Macau SAR China
MP MNP Northern Mariana Islands
MQ MTQ Martinique
MR MRT Mauritania
MS MSR Montserrat
MT MLT Malta
MU MUS Mauritius
MV MDV Maldives
MW MWI Malawi
MX MEX Mexico|México|Mexiko|Mexique|Messico
MY MYS Malaysia
MZ MOZ Mozambique
NA NAM Namibia
NC NCL New Caledonia
NE NER Niger
NF NFK Norfolk Island
NG NGA Nigeria
NI NIC Nicaragua
NL NLD Netherlands|The Netherlands|Nederland|Holland|Niederlande|Pays-Bas|Países Bajos|Paesi Bassi
NO NOR Norway|Norge|Norwegen|Norvège|Noruega|Noorwegen
NP NPL Nepal
NR NRU Nauru
NU NIU Niue
NZ NZL New Zealand|Aotearoa|Neuseeland|Nouvelle-Zélande
OM OMN Oman
PA PAN Panama|Panamá
PE PER Peru|Perú
PF PYF French Polynesia
PG PNG Papua New Guinea
PH PHL Philippines|Filipinas|Philippinen
PK PAK Pakistan
PL POL Poland|Polska|Polen|Pologne|Polonia|Polônia
PM SPM Saint Pierre and Miquelon
PN PCN Pitcairn
PR PRI Puerto Rico
PS PSE Palestine
PT PRT Portugal
PW PLW Palau
PY PRY Paraguay
QA QAT Qatar|Katar
RE REU Réunion
RO ROU Romania|România|Rumänien|Roumanie
RS SRB Serbia|Srbija|Serbien|Србија
RU RUS Russia|Russian Federation|Россия|Russland|Russie|Rusia
RW RWA Rwanda
SA SAU Saudi Arabia|KSA|Saudi-Arabien|السعودية|Kingdom of Saudi Arabia
SB SLB Solomon Islands
SC SYC Seychelles
SD SDN Sudan
SE SWE Sweden|Sverige|Schweden|Suède|Suecia|Svezia|Zweden|Szwecja
SG SGP Singapore|Singapur|新加坡
SH SHN Saint Helena
SI SVN Slovenia|Slovenija|Slowenien
SJ SJM Svalbard and Jan Mayen
SK SVK Slovakia|Slovensko|Slowakei|Slovak Republic
SL SLE Sierra Leone
SM SMR San Marino
SN SEN Senegal|Sénégal
SO SOM Somalia
SR SUR Suriname
SS SSD South Sudan
ST STP São Tomé and Príncipe
SV SLV El Salvador
SX SXM Sint Maarten
SY SYR Syria|Syrian Arab Republic
SZ SWZ Eswatini|Swaziland
TC TCA Turks and Caicos Islands
TD TCD Chad
TF ATF French Southern Territories
TG TGO Togo
TH THA Thailand|ประเทศไทย
TJ TJK Tajikistan
TK TKL Tokelau
TL TLS Timor-Leste|East Timor
TM TKM Turkmenistan
TN TUN Tunisia|Tunisie|Tunesien|تونس
TO TON Tonga
TR TUR Turkey|Türkiye|Türkei|Turquie|Turquía
TT TTO Trinidad and Tobago
TV TUV Tuvalu
TW TWN Taiwan|台灣|台湾|Taiwan Province of China|Taiwan ROC
TZ TZA Tanzania|Tansania
UA UKR Ukraine|Україна|Украина|Ucrania
UG UGA Uganda
UM UMI United States Minor Outlying Islands
US USA United States|United States of America|America|Vereinigte Staaten|États-Unis|Estados Unidos|Stati Uniti
US USA Verenigde Staten|The United States|EUA|EEUU|EE UU
UY URY Uruguay
UZ UZB Uzbekistan
VA VAT Vatican City|Holy See
VC VCT Saint Vincent and the Grenadines
VE VEN Venezuela|Bolivarian Republic of Venezuela
VG VGB British Virgin Islands
VI VIR US Virgin Islands
VN VNM Vietnam|Viet Nam|Việt Nam
VU VUT Vanuatu
WF WLF Wallis and Futuna
WS WSM Samoa
XK XKX Kosovo
YE YEM Yemen
YT MYT Mayotte
ZA ZAF South Africa|Südafrika|Afrique du Sud|RSA
ZM ZMB Zambia
ZW ZWE Zimbabwe
"""
# Parts of a country that have a code and a dialling code of their own: "Hong Kong, China" is HK.
_APART = {
    "CN": "HK MO TW",
    "DK": "FO GL",
    "FR": "GF GP MQ NC PF PM RE WF YT",
    "GB": "AI BM FK GG GI IM JE KY MS SH TC VG",
    "NL": "AW CW SX",
    "US": "AS GU MP PR VI",
}
# Behind a city, Georgia is as likely the state of the USA, unless the city is known.
_CITIES_OF_GEORGIA = frozenset({"tbilisi", "tiflis", "batumi", "kutaisi", "rustavi", "zugdidi", "poti"})
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}|\U0001f3f4[\U000e0061-\U000e007a]{2}[\U000e0020-\U000e007f]*")
_LOCALE = re.compile(r"([A-Za-z]{2,3})[-_](?:[A-Za-z]{4}[-_])?([A-Za-z]{2})(?:\.[A-Za-z0-9-]{1,12})?")
_SUBDIVISION = re.compile(r"([A-Z]{2})-[A-Z0-9]{1,3}")
_IN_BRACKETS = re.compile(r"\(([A-Za-z]{2})\)$")


def _folded(text: str) -> str:
    """Fold case, accents and punctuation, so that spellings of one name are equal."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign) and sign not in ".'’")
    return " ".join(re.sub(r"[^\w]+", " ", letters).split())


def _names() -> dict[str, str]:
    names: dict[str, str] = {}
    for line in _COUNTRIES.strip().splitlines():
        alpha2, alpha3, spelled = line.split(" ", 2)
        names.update(dict.fromkeys((_folded(name) for name in (alpha2, alpha3, *spelled.split("|"))), alpha2))
    return names


_NAMES = _names()


def has_flag(text: str) -> bool:
    """Tell whether *text* has a country's flag, which is neither a letter nor a digit."""
    return _FLAG.search(text) is not None


@lru_cache(maxsize=256)  # a file names few countries, many times
def read_region(text: str) -> str:
    """Return the country of the tidied *text* as two capital letters. Raise Unusable."""
    if text.isascii() or not has_flag(text):
        return _read_words(text)
    words = " ".join(_FLAG.sub(" ", text).split())
    found = {_of_flag(flag) for flag in _FLAG.findall(text[:100])}
    if any(map(str.isalnum, words)):
        found.add(_read_words(words))
    if len(found) != 1 or (region := found.pop()) is None:
        raise Unusable(_WANTED)
    return region


def _of_flag(flag: str) -> str | None:
    """Read a flag by the two letters that it is made of; of a part's flag, as Scotland's, by the country's."""
    signs, first = (flag[1:3], 0xE0061) if flag[0] == "\U0001f3f4" else (flag, 0x1F1E6)
    return _NAMES.get("".join(chr(ord(sign) - first + ord("a")) for sign in signs))


def _read_words(text: str) -> str:
    if len(text) == 2 and (known := _NAMES.get(text.lower())):
        return known
    if is_template(text):
        raise Unusable(TEMPLATE)
    region = None
    if len(text) <= 100:
        region = _NAMES.get(_folded(text)) or _of_locale(text) or _of_place(text)
    if region is None:
        raise Unusable(_WANTED)
    return region


def _of_locale(text: str) -> str | None:
    """Read en-US, de_AT.UTF-8, zh-Hant-TW as locales, and US-NY as a part of its country."""
    locale = _LOCALE.fullmatch(text)
    country = _SUBDIVISION.fullmatch(text)
    behind = _NAMES.get(locale[2].lower()) if locale else None
    if country is None:
        return behind
    before = _NAMES.get(country[1].lower())
    # Capitals on both sides may be either: PT-BR is a locale, US-CA is California. Only one reading may fit.
    return before or behind if before is None or behind is None or before == behind else None


def _of_place(text: str) -> str | None:
    """Read "Germany (DE)" and the last part of "Boston, Massachusetts, United States"."""
    if bracketed := _IN_BRACKETS.search(text):
        return _apart(text[: bracketed.start()], _NAMES.get(bracketed[1].lower()))
    place, comma, last = text.rpartition(",")
    country = _folded(last)
    # Two letters after a city are as likely a state: Atlanta, GA is not in Gabon.
    if not comma or not place or len(country) < 3:
        return None
    if country == "georgia" and _CITIES_OF_GEORGIA.isdisjoint(_folded(place).split()):
        return None
    return _apart(place.rpartition(",")[2], _NAMES.get(country))


def _apart(place: str, country: str | None) -> str | None:
    """Return the code of *place* if it is a part of *country* with a code of its own; else the country's."""
    part = _NAMES.get(_folded(place))
    return part if part and country and part in _APART.get(country, "").split() else country
