"""Listens: CRM events, callbacks, the API.  It calls nobody, and shares nothing with the submitter but rows."""
