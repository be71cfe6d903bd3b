"""Listen: CRM events, callbacks, the API. Never call out, and share only database rows with the submitter."""
