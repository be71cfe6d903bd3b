"""The domain, pure: contacts, searches, jobs, outcomes and money, without a database and without a network."""
