"""Pretend HubSpot: contacts, properties, search and webhooks of one account, faults included, with a log of its own.

https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide
"""
