"""What is known: cases, plans, records, and how they are kept."""
