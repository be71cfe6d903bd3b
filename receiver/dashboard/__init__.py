"""The dashboard: pages for the people who run this installation, behind a session that an API token begins."""
