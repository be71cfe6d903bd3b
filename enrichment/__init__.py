"""The pure domain: contacts, searches, jobs, outcomes and money, without a database or a network."""
