"""What the receiver and the submitter agree on: contacts, jobs, outcomes, and the rows they share."""
