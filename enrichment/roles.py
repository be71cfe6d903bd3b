"""Tell a shared mailbox (info@, ventas@, no-reply@) from a person's address.

A question to a vendor may include such an address; it is no key, because many people read it.
"""

from __future__ import annotations

import re

# No person's name begins with these words: with any ending, they are a shared mailbox (sales.de@, office-berlin@).
_WORDS_OF_STRONG = """
info infos information support helpdesk servicedesk office sales billing invoice invoices invoicing accounts
accounting accountspayable accountsreceivable payroll finance purchasing procurement orders order marketing
webmaster postmaster hostmaster webadmin noreply donotreply notreply noanswer mailer mailerdaemon unsubscribe
subscribe notifications notification notify alerts newsletter newsletters contact contacts contactus customerservice
customercare customersupport clientservices customerrelations enquiries enquiry inquiries inquiry feedback careers
recruiting recruitment humanresources reception frontdesk bookings booking reservations reservation shipping
logistics warehouse returns complaints privacy gdpr dpo compliance abuse security admissions admin administrator
administration mailbox inbox helpline techsupport itsupport itdesk pressoffice investorrelations kontakt buero
vertrieb verkauf einkauf bewerbung bewerbungen karriere rechnung rechnungen buchhaltung sekretariat zentrale
kundenservice kundendienst anfrage anfragen bestellung bestellungen poststelle verwaltung redaktion datenschutz
impressum empfang rezeption reservierung personalabteilung geschaeftsleitung geschaeftsfuehrung contacto contactos
ventas comercial administracion contabilidad facturas facturacion pedidos compras rrhh recursoshumanos empleo
atencionalcliente servicioalcliente informacion secretaria soporte reservas contato vendas atendimento suporte
financeiro administracao contabilidade informacoes ouvidoria faturamento geral commercial accueil comptabilite
facturation recrutement serviceclient contactez secretariat renseignements achats direction contatti vendite
commerciale segreteria amministrazione acquisti fatture fatturazione contabilita assistenza ufficio informazioni
prenotazioni verkoop inkoop boekhouding administratie klantenservice receptie vacatures facturen kundservice
kundtjanst forsaljning faktura salg kundeservice kundesenter ordre biuro sprzedaz zamowienia ksiegowosc rekrutacja
kontakty obchod podpora objednavky prodej prodaja ertekesites ugyfelszolgalat titkarsag penzugy iletisim satis
destek muhasebe vanzari contabilitate zakaz zakazy prodazhi buhgalteria priemnaya asiakaspalvelu myynti toimisto
laskutus headoffice mainoffice sayhello letstalk letschat getintouch reachus writetous workwithus joinus getstarted
hellothere ticketing boxoffice versand finanzen immobilien versicherung versicherungen kontakte rathaus gemeinde
stadtverwaltung gemeindeamt pfarramt pfarrbuero immobiliare inmobiliaria immobilier assurance assurances
"""
_STRONG = frozenset(_WORDS_OF_STRONG.split())
# Words that may also be part of a name: they count only if no other word stands beside them.
_WORDS_OF_WEAK = """
hello hi hey help service services care hr people talent jobs job career team teams press media pr news events event
root noc it tech technical dev ops devops engineering legal mail email post general main owner owners ceo cfo cto
coo director directors manager management board partner partners partnerships affiliates investors ir donations
donate membership members member bounce bounces system daemon web website www everyone all staff company hq
headquarters export import dispatch warranty repairs parts production quality qa lab studio design editor editorial
library community social shop store sale trade wholesale retail customer customers client clients vendor vendors
supplier suppliers account payments payment pay tax audit treasury ap ar demo welcome ask desk dept department group
global worldwide international corporate academy training school clinic pharmacy hotel restaurant user users praxis
kanzlei hilfe technik presse personal werkstatt leitung vorstand mitarbeiter service ayuda clientes prensa gerencia
direccion empresa rh sac imprensa diretoria rp lavoro direzione ik bilgi kadry praca zakupy iroda buh kadr pochta
hallo hola ola ciao bonjour salut hej hei moin servus ahoj aloha halo hoi namaste merhaba hallå hallaa saludos
buongiorno gruezi greetings talk chat crew join connect agency agentur agence agencia lager vente ventes insurance
leasing ticket tickets verein vereine club families family familie famille famiglia familia
usa emea apac latam dach benelux nordics europe germany deutschland austria schweiz france spain italy
"""
_WEAK = frozenset(_WORDS_OF_WEAK.split())
# Words that narrow one of the above; alone, they may be a person's initials.
_WORDS_OF_NARROWING = """
the our new north south east west central regional national head deputy chief intl int ww corp americas america asia
africa oceania uk eu us de at ch fr es pt nl be pl se no dk fi ie au nz ca mx br in sg hk jp cn en
"""
_NARROWING = frozenset(_WORDS_OF_NARROWING.split())
_PARTS = re.compile(r"[._-]+")


def is_role_address(email: str) -> bool:
    """Tell whether *email* is a mailbox that many people read, by its local part alone."""
    local = email.rpartition("@")[0].casefold().partition("+")[0]
    parts = [bare for part in _PARTS.split(local) if (bare := part.strip("0123456789"))]
    joined = "".join(parts)
    if not parts:
        return False
    if joined in _STRONG or joined in _WEAK or parts[0] in _STRONG:
        return True
    domain = email.rpartition("@")[2].partition(".")[0]
    roles = [part for part in parts if part in _STRONG or part in _WEAK]
    narrowing = [part for part in parts if part in _NARROWING or part == domain]
    return bool(roles) and len(roles) + len(narrowing) >= len(parts)
