"""Pretend LeadMagic, Nyne and HubSpot: faithful to the vendors' pages, faults included, with a ledger of their own."""
