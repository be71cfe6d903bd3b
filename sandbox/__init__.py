"""Pretend LeadMagic and Nyne: faithful to the vendors' pages, faults included, with a ledger of their own."""
